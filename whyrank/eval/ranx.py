"""What ranx has and we do not: its further fusion methods and significance tests, behind the extra `stats`.

Bassani, "ranx: a blazing-fast Python library for ranking evaluation and comparison", ECIR 2022. ranx wants every judged
query in every run, keeps ties in insertion order, and leaves numba with one thread after small inputs: it gets copies
with strictly falling scores and empty rankings filled in, and the threads are restored.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from whyrank.errors import BadInput, EngineError, need
from whyrank.types import Run

_NAMES = {"nDCG": "ndcg", "R": "recall", "P": "precision", "AP": "map", "RR": "mrr", "Success": "hit_rate"}
_FILLER = "\x00nothing"
"""Stands in a ranking that has no document, since ranx takes no empty one; no judgement knows it."""


def ranx_compare(
    runs: Sequence[Run],
    qrels: Mapping[str, Mapping[str, float]],
    measures: Sequence[str] = ("nDCG@10", "R@100"),
    test: str = "student",
    max_p: float = 0.05,
) -> Any:  # noqa: ANN401 (ranx's Report)
    """Compare runs by one of ranx's tests; `print` of what comes back shows a table with superscripts.

    Args:
        runs: at least two, of different names.
        qrels: the judgements; a judged query that a run lacks counts 0, as everywhere in whyrank.
        measures: nDCG, R, P, AP, RR and Success, with or without a cut-off.
        test: "student" (paired t), "fisher" (randomisation) or "tukey" (honestly significant difference).
        max_p: level of significance.

    Raises:
        MissingExtra: ranx is not installed.
        BadInput: a measure that ranx does not have.
    """
    judged = {query: dict(grades) for query, grades in qrels.items() if grades}
    with _ranx() as ranx:
        return ranx.compare(
            ranx.Qrels(judged),
            [ranx.Run(_filled(run, judged), name=run.name) for run in runs],
            [_name(measure) for measure in measures],
            stat_test=test,
            max_p=max_p,
        )


def ranx_fuse(runs: Sequence[Run], method: str, norm: str | None = "min-max", **parameters: object) -> Run:
    """Fuse runs by one of ranx's methods (`mnz`, `isr`, `condorcet`, `bordafuse`, …), normalised as ranx does.

    Args:
        runs: at least two.
        method: ranx's name of it.
        norm: ranx's name of the normalisation, or None.
        parameters: what the method takes, such as `k=60` of "rrf".

    Raises:
        MissingExtra: ranx is not installed.
        EngineError: ranx fails, or gives other documents than those of the runs, as some of its methods do.
    """
    queries = dict.fromkeys(query for run in runs for query in run)
    with _ranx() as ranx:
        codes = _Codes()
        copies = [ranx.Run(codes.of(_filled(run, queries)), name=run.name) for run in runs]
        try:
            fused = codes.back(ranx.fuse(copies, norm=norm, method=method, params=parameters or None).to_dict())
        except (ValueError, TypeError, IndexError, KeyError, ZeroDivisionError) as error:
            raise EngineError(f"ranx cannot fuse by {method!r} with norm={norm!r}: {error}") from None
    rankings = {query: {id: score for id, score in fused[query].items() if id != _FILLER} for query in queries}
    for query, scores in rankings.items():
        _check(scores, [run[query].ids for run in runs if query in run], f"{method!r}, norm={norm!r}, query {query!r}")
    return Run.of(rankings, name=method)


class _Codes:
    """Codes of one length in place of ids: ranx cuts ids to the length of those of another run, and mixes them up."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def of(self, run: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
        """A run with codes for its documents."""
        numbers = self._numbers
        return {
            query: {f"{numbers.setdefault(id, len(numbers)):012d}": score for id, score in scores.items()}
            for query, scores in run.items()
        }

    def back(self, run: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
        """The same run with the ids again."""
        ids = list(self._numbers)
        return {query: {ids[int(code)]: score for code, score in scores.items()} for query, scores in run.items()}


def _check(scores: Mapping[str, float], rankings: Sequence[Sequence[str]], where: str) -> None:
    """Refuse a fusion that has lost or invented documents, or that gives scores which are no numbers."""
    known = set().union(*rankings)
    if differ := sorted(known ^ scores.keys()):
        raise EngineError(
            f"ranx by {where}: {len(known)} documents went in and {len(scores)} came out, {differ[0]!r} in one only: "
            "take another method, or whyrank's own fuse"
        )
    if wrong := [id for id, score in scores.items() if not math.isfinite(score)]:
        raise EngineError(f"ranx by {where}: the score of {wrong[0]!r} is {scores[wrong[0]]}: take another norm")


@contextmanager
def _ranx() -> Iterator[Any]:
    ranx = need("ranx", extra="stats", asked_by="ranx_compare and ranx_fuse")
    numba = need("numba", extra="stats", asked_by="ranx")
    threads = numba.get_num_threads()
    try:
        yield ranx
    finally:
        numba.set_num_threads(threads)


def _filled(run: Run, queries: Mapping[str, object]) -> dict[str, dict[str, float]]:
    """The run as a dictionary with just these queries, none of them empty."""
    given = run.to_dict()
    return {query: given.get(query) or {_FILLER: 0.0} for query in queries}


def _name(measure: str) -> str:
    found = re.fullmatch(r"([A-Za-z]+)(@\d+)?", measure)
    if found is None or found[1] not in _NAMES:
        raise BadInput(f"ranx has no {measure!r} here: try {', '.join(_NAMES)}, with or without a cut-off")
    return _NAMES[found[1]] + (found[2] or "")
