"""Evaluation: `evaluate` a run against judgements, `compare` runs, show them in a `table`. Never sees text."""

from whyrank.eval.compare import Comparison, Contrast, compare
from whyrank.eval.measures import Custom
from whyrank.eval.report import Report, table
from whyrank.eval.score import by_slice, evaluate

__all__ = ["Comparison", "Contrast", "Custom", "Report", "by_slice", "compare", "evaluate", "table"]
