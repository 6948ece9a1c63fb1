"""The question about a slate: how candidates are put to a model, and how its graded answer is read."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.content import neutral, one_line
from whyrank.llm.messages import EMPTY, Message, Piece, Prompt, Sampling
from whyrank.llm.reasoning import parted
from whyrank.llm.report import reported
from whyrank.types import CallReport, Repairs, Status

_TASK = (
    "You search a collection of passages that is arranged as a tree. You are shown a query and numbered candidates: "
    "passages, or groups of passages, which are described by the words that mark them and by what stands in them. "
    "Give each candidate a relevance from 0 to 100.\n"
    "- A passage: how much it helps to answer the query. 100 is the answer itself, or the fact, principle, method or "
    "example that the answer rests on; 50 is of some help; 0 is of none.\n"
    "- A group: how likely it is that such a passage is in it.\n"
    "First work out what the query really needs. Sharing words with it makes nothing relevant, and what is relevant "
    "may share none. Judge each candidate by itself and use the same scale for all.\n"
)
_FORM = (
    "Answer with one JSON object and nothing else: what the query needs in two sentences, then the relevance of every "
    'candidate by its number. For two candidates: {"reasoning": "…", "scores": {"1": 80, "2": 5}}'
)


@dataclass(frozen=True, slots=True)
class Judged:
    """What an answer says about n candidates.

    Attributes:
        scores: (n,) from 0 to 1; NaN where there is none: no score is not a score of 0.
        status: "exact": each candidate once, nothing else; "repaired": some missing, twice or out of range;
            "truncated": cut off before its end; "no_answer": no score to be found; "failed": the call brought nothing.
        missing: how many candidates have no score.
        duplicate: how many candidates were scored again; the first score counts.
        out_of_range: how many scores were below 0 or above 100, or of no candidate.
    """

    scores: tuple[float, ...]
    status: Status
    missing: int = 0
    duplicate: int = 0
    out_of_range: int = 0


def render(query: str, candidates: Sequence[str], relevance: str = "", sampling: Sampling | None = None) -> Prompt:
    """The prompt that asks for the relevance of `candidates`, numbered from 1.

    Args:
        query: what is searched for.
        candidates: passages and groups, told apart by their first words.
        relevance: what counts as relevant in this collection; may be empty.
        sampling: how the completion is drawn.
    """
    task = f"{_TASK}{f'What counts as relevant here: {relevance}' + chr(10) if relevance else ''}{_FORM}"
    pieces = [Piece("Query: "), Piece(neutral(query).strip(), cut="query"), Piece("\n\nCandidates:\n")]
    for number, candidate in enumerate(candidates, start=1):
        pieces += [Piece(f"\n[{number}] "), Piece(line(candidate) or EMPTY, cut="document")]
    pieces.append(Piece(f"\n\nGive the JSON object with the relevance of all {len(candidates)} candidates."))
    return Prompt((Message("system", (Piece(task),)), Message("user", tuple(pieces))), sampling or Sampling())


def read(completion: Completion, n: int) -> tuple[Judged, CallReport]:
    """What a completion says about n candidates, and the report of the call."""
    if isinstance(completion, Failed):
        return Judged((math.nan,) * n, "failed", missing=n), reported(completion)
    judged = parse(completion.text, n, cut=completion.finish == "length")
    repairs = Repairs(judged.missing, judged.duplicate, judged.out_of_range)
    return judged, reported(completion, judged.status, repairs, thought=_thought(completion))


def parse(text: str, n: int, cut: bool = False) -> Judged:
    """The relevance of n candidates in a completion; any text gives a valid answer and a status.

    Read are a JSON map, JSON pairs, JSON objects with a number and a score, and lines such as `[2]: 70`.

    Args:
        text: the completion, with or without its thought.
        n: how many candidates were shown.
        cut: whether the completion was cut off at its token limit.

    Examples:
        >>> parse('{"reasoning": "1 of 2", "scores": {"1": 80, "2": 500}}', 2)
        Judged(scores=(0.8, nan), status='repaired', missing=1, duplicate=0, out_of_range=1)
    """
    pairs = _pairs(parted(text).answer, cut)
    scores: dict[int, float] = {}
    duplicate = out_of_range = 0
    for number, score in pairs:
        if not (1 <= number <= n and 0 <= score <= 100):
            out_of_range += 1
        elif number in scores:
            duplicate += 1
        else:
            scores[number] = score / 100
    missing = n - len(scores)
    exact = not (missing or duplicate or out_of_range)
    status: Status = "exact" if exact else "repaired" if scores else "no_answer"
    if cut and missing:
        status = "truncated"
    return Judged(tuple(scores.get(at, math.nan) for at in range(1, n + 1)), status, missing, duplicate, out_of_range)


def line(text: str) -> str:
    """A text in one line, where `[12]` has become `(12)`, so that nothing in it looks like a candidate's number."""
    return one_line(text)


_NUMBER = r"(-?\d{1,9}(?:\.\d{1,9})?)"
_KEY = r"""["'\[(*]{0,4}(?<!\d)(\d{1,9})["'\])*]{0,4}"""
_FORMS = (
    re.compile(
        rf'"\w{{1,40}}"\s{{0,9}}:\s{{0,9}}"?\[?(\d{{1,9}})\]?"?\s{{0,9}},\s{{0,9}}"(?:score|relevance|relevance_score)"\s{{0,9}}:\s{{0,9}}"?{_NUMBER}'
    ),
    re.compile(rf'\[\s{{0,9}}"?(\d{{1,9}})"?\s{{0,9}},\s{{0,9}}"?{_NUMBER}"?\s{{0,9}}\]'),
    re.compile(rf"""{_KEY}\s{{0,9}}(?::|=|→|->)\s{{0,9}}["'*]{{0,4}}{_NUMBER}"""),
    re.compile(rf"^[ \t]{{0,9}}\[(\d{{1,9}})\][ \t]{{1,9}}{_NUMBER}[ \t]{{0,9}}$", re.MULTILINE),
)
_REASONING = re.compile(r'"reasoning"\s*:\s*("(?:[^"\\]|\\.)*")', re.DOTALL)


def _pairs(answer: str, cut: bool) -> list[tuple[int, float]]:
    """Candidate and score as they are written, in the form that gives most; a number at a cut may lack digits."""
    before, found, region = answer.rpartition('"scores"')
    region = region if found else before + region
    if cut:
        region = region.rstrip("0123456789.-")
    best = max((form.findall(region) for form in _FORMS), key=len)
    return [(int(number) if len(number) < 10 else 0, float(score)) for number, score in best]


def _thought(completion: Ok) -> str:
    reasoning, answer, _ = parted(completion.text)
    if not (thought := completion.reasoning or reasoning) and (match := _REASONING.search(answer)):
        try:
            return str(json.loads(match[1], strict=False))
        except ValueError:
            return match[1].strip('"')
    return thought
