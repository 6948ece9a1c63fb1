"""Evaluation: `evaluate` a run against judgements, `compare` runs, show them in a `table`. Never sees text."""

from whyrank.eval.compare import Comparison, Contrast, compare
from whyrank.eval.doubts import same_orders
from whyrank.eval.measures import Custom
from whyrank.eval.report import Report, table
from whyrank.eval.score import by_slice, evaluate
from whyrank.eval.spread import Spread, detectable, spread
from whyrank.eval.tables import per_query, written

__all__ = [
    "Comparison",
    "Contrast",
    "Custom",
    "Report",
    "Spread",
    "by_slice",
    "compare",
    "detectable",
    "evaluate",
    "per_query",
    "same_orders",
    "spread",
    "table",
    "written",
]
