"""Formats: how a question about passages is put to a model, and how its answer is read; one kind of answer a file."""

from whyrank.rerank.formats.base import Format, Reading, clean, read
from whyrank.rerank.formats.choice import Choice, ChoiceFormat, parse_choice
from whyrank.rerank.formats.ends import BestWorst, Ends, parse_ends
from whyrank.rerank.formats.first import First
from whyrank.rerank.formats.listwise import Permutation, RankingFormat, parse_permutation
from whyrank.rerank.formats.pair import Pair, Preferred
from whyrank.rerank.formats.point import Graded, PointFormat
from whyrank.rerank.formats.rubric import Rubric
from whyrank.rerank.formats.scores import GroupScoresFormat, Scores, parse_scores
from whyrank.rerank.formats.yes_no import YesNo

__all__ = [
    "BestWorst", "Choice", "ChoiceFormat", "Ends", "First", "Format", "Graded", "GroupScoresFormat", "Pair",
    "Permutation", "PointFormat", "Preferred", "RankingFormat", "Reading", "Rubric", "Scores", "YesNo", "clean",
    "parse_choice", "parse_ends", "parse_permutation", "parse_scores", "read",
]  # fmt: skip
