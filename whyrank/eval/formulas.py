"""Measures computed here: what trec_eval's code has not (fractional grades, 2^g - 1, ERR, RBP, C/W/L), and counts.

Each is a function of a query's grades, its ranked ids and the measure's parameters. They agree with gdeval, cwl_eval
and, on whole numbers, with trec_eval (tests).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from whyrank.errors import BadInput
from whyrank.eval import cwl, orders

Grades = Mapping[str, float]
Formula = Callable[[Grades, Sequence[str], Mapping[str, Any]], float]

HIGHEST = 4
"""The grade that ERR takes for certain to satisfy, as TREC's gdeval has it."""


def level(grade: float) -> int:
    """The whole number that a grade counts as where a measure only asks what is relevant: the next one upwards.

    So a document is relevant, at level 1, if its grade is above 0; whole numbers stand for themselves.
    """
    return math.ceil(grade)


def ndcg(grades: Grades, ranking: Sequence[str], given: Mapping[str, Any]) -> float:
    """Normalised DCG (Järvelin and Kekäläinen, 2002) with the gains of `gains_of`."""
    gains = gains_of(grades, given)
    return normalised([gains.get(id, 0.0) for id in ranking], gains, given)


def gains_of(grades: Grades, given: Mapping[str, Any]) -> dict[str, float]:
    """What each judged document is worth: its grade or `gains[grade]`; 2^that - 1 for `exp-log2`; never below 0."""
    mapped = given.get("gains", {})
    gains = {id: max(float(mapped.get(grade, grade)), 0.0) for id, grade in grades.items()}
    return {id: _power(gain) for id, gain in gains.items()} if given.get("dcg") == "exp-log2" else gains


def normalised(found: Sequence[float], gains: Mapping[str, float], given: Mapping[str, Any]) -> float:
    """DCG of the gains `found`, in the order ranked, over that of the ideal order of all `gains`; 0 where it is 0."""
    depth = given.get("cutoff", max(len(found), len(gains)))
    best = orders.dcg(sorted(gains.values(), reverse=True), depth)
    return orders.dcg(found, depth) / best if best else 0.0


def err(grades: Grades, ranking: Sequence[str], given: Mapping[str, Any]) -> float:
    """Expected reciprocal rank (Chapelle et al., 2009): a reader is satisfied with (2^grade - 1) / 2^4."""
    if (top := max(grades.values())) > HIGHEST:
        raise BadInput(f"ERR is defined for grades up to {HIGHEST}, as gdeval has it, and there is one of {top}")
    value, reads_on = 0.0, 1.0
    for rank, id in enumerate(ranking[: given.get("cutoff")], 1):
        satisfied = _power(max(grades.get(id, 0), 0)) / 2**HIGHEST
        value += reads_on * satisfied / rank
        reads_on *= 1 - satisfied
    return value


def rbp(grades: Grades, ranking: Sequence[str], given: Mapping[str, Any]) -> float:
    """Rank-biased precision (Moffat and Zobel, 2008) of what is relevant at `rel`; by default 1, and `p` 0.8."""
    p: float = given.get("p", 0.8)
    rel: int = given.get("rel", 1)
    found = enumerate(ranking[: given.get("cutoff")])
    return (1 - p) * math.fsum(p**at for at, id in found if level(grades.get(id, 0)) >= rel)


def accuracy(grades: Grades, ranking: Sequence[str], given: Mapping[str, Any]) -> float:
    """Of all pairs of a relevant and another document that are ranked, the share in the right order; 1 without others.

    As ir_measures defines it, which divides by zero where all are relevant.
    """
    others, below, relevant = 0, 0, 0
    for id in ranking[: given.get("cutoff")]:
        if level(grades.get(id, 0)) >= given.get("rel", 1):
            relevant += 1
            below += others
        else:
            others += 1
    return 1 - below / (others * relevant) if others and relevant else float(relevant > 0)


def hole(grades: Grades, ranking: Sequence[str], given: Mapping[str, Any]) -> float:
    """The share of the documents to the cut-off that nobody judged (BEIR, 2021): 1 - Judged."""
    ranked = ranking[: given["cutoff"]]
    return sum(id not in grades for id in ranked) / len(ranked) if ranked else 0.0


def capped_recall(grades: Grades, ranking: Sequence[str], given: Mapping[str, Any]) -> float:
    """Recall to the cut-off, over what it could be at most: the cut-off, where more documents are relevant (BEIR)."""
    relevant = {id for id, grade in grades.items() if level(grade) >= given.get("rel", 1)}
    most = min(len(relevant), given["cutoff"])
    return sum(id in relevant for id in ranking[: given["cutoff"]]) / most if most else 0.0


def num_q(grades: Grades, ranking: Sequence[str], given: Mapping[str, Any]) -> float:
    """1: the query itself."""
    return 1.0


def num_rel(grades: Grades, ranking: Sequence[str], given: Mapping[str, Any]) -> float:
    """How many documents are relevant."""
    return float(sum(level(grade) >= given.get("rel", 1) for grade in grades.values()))


def num_ret(grades: Grades, ranking: Sequence[str], given: Mapping[str, Any]) -> float:
    """How many documents are ranked; with `rel`, how many of them are relevant."""
    if "rel" not in given:
        return float(len(ranking))
    return float(sum(level(grades[id]) >= given["rel"] for id in ranking if id in grades))


COUNTS: Mapping[str, Formula] = {"NumQ": num_q, "NumRel": num_rel, "NumRet": num_ret}
"""Of these the sum over queries is told, as trec_eval tells it, and a query that a run lacks has its own count."""

ALWAYS: Mapping[str, Formula] = {
    "ERR": err,
    "RBP": rbp,
    "Accuracy": accuracy,
    "Hole": hole,
    "R_cap": capped_recall,
    **{name: partial(cwl.value, user) for name, user in cwl.USERS.items()},
    **COUNTS,
}
"""Computed here whatever the grades."""


def _power(gain: float) -> float:
    if gain > 64:
        raise BadInput(
            f"2^grade - 1 is no gain for a grade of {gain:g}: map the grades by gains={{…}}, or leave out dcg"
        )
    return float(2**gain - 1)
