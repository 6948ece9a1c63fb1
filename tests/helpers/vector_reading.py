"""What an answer of any kind says, as JSON: what vector files hold."""

import math
from typing import Any

from whyrank.rerank.formats import Choice, Ends, Graded, Permutation, Preferred, Scores


def reading(answer: Any) -> Any:
    """Numbers from 1; null where nothing was read."""
    if isinstance(answer, Permutation):
        return [at + 1 for at in answer.permutation]
    if isinstance(answer, Choice):
        return None if answer.best is None else answer.best + 1
    if isinstance(answer, Ends):
        return [None if end is None else end + 1 for end in (answer.best, answer.worst)]
    if isinstance(answer, Scores):
        return [None if math.isnan(score) else score for score in answer.scores]
    if isinstance(answer, Graded):
        return None if math.isnan(answer.score) else answer.score
    assert isinstance(answer, Preferred)
    return None if answer.first is None else "AB"[not answer.first]
