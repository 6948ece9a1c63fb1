"""Query rewriting: ask a model, or a file, for a better query, and say how it goes together with the original."""

from whyrank.retrieval.rewrite.base import LLMRewriter, PassageRequest, Rewriter, Rewriting, Steps, read
from whyrank.retrieval.rewrite.combine import Append, Combine, FuseOriginal, Gate, Repeat, Replace
from whyrank.retrieval.rewrite.expand import HyDE, Keywords, LameR, Query2Doc, ReasonedQuery, StepBack, SubQueries
from whyrank.retrieval.rewrite.files import FromFile
from whyrank.retrieval.rewrite.rewritten import Rewritten, outcomes
from whyrank.retrieval.rewrite.rounds import ThinkQE

__all__ = [
    "Append",
    "Combine",
    "FromFile",
    "FuseOriginal",
    "Gate",
    "HyDE",
    "Keywords",
    "LLMRewriter",
    "LameR",
    "PassageRequest",
    "Query2Doc",
    "ReasonedQuery",
    "Repeat",
    "Replace",
    "Rewriter",
    "Rewriting",
    "Rewritten",
    "StepBack",
    "Steps",
    "SubQueries",
    "ThinkQE",
    "outcomes",
    "read",
]
