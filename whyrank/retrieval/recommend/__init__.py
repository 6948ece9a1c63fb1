"""Recommenders: retrievers whose query is a history, and who learn from what others did (`docs/recommendation.md`)."""

from whyrank.retrieval.recommend.base import Recommender

__all__ = ["Recommender"]
