"""Formats: how a question about passages is put to a model, and how its answer is read; one kind of answer a file."""

from whyrank.rerank.formats.base import STATUSES, Format, Reading, Status, clean, read, thought
from whyrank.rerank.formats.choice import Choice, DirectChoice, ReasonedChoice, parse_choice
from whyrank.rerank.formats.listwise import Direct, Parsed, Reasoned, parse_permutation
from whyrank.rerank.formats.scores import DirectScores, ReasonedScores, Scores, parse_scores

__all__ = [
    "STATUSES", "Choice", "Direct", "DirectChoice", "DirectScores", "Format", "Parsed", "Reading", "Reasoned",
    "ReasonedChoice", "ReasonedScores", "Scores", "Status", "clean", "parse_choice", "parse_permutation",
    "parse_scores", "read", "thought",
]  # fmt: skip
