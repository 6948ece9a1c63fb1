"""Recommendation: logs of what users did become data sets whose queries are histories (`docs/recommendation.md`)."""

from whyrank.datasets.recommendation.source import Source
from whyrank.datasets.recommendation.split import Protocol

__all__ = ["Protocol", "Source"]
