"""Classes of queries for `whyrank eval --by`: what they tell apart is known from the data, never shown to a ranker."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from whyrank.datasets.recommendation.split import Split, repeated

LENGTHS = ((5, "1–4"), (10, "5–9"), (20, "10–19"), (50, "20–49"))
HEAD, TAIL, UNEVEN = 0.2, 0.4, 0.4
"""Shares: of training events of the most popular items, and of the least popular; of users with the most variance."""


def slices(split: Split, ids: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
    """By `history` (its length), `popularity` of the target, `repeat` (had before) and `rhythm` (evenness of gaps)."""
    found: dict[str, Callable[[Split], list[str]]] = {
        "history": _history,
        "popularity": _popularity,
        "repeat": lambda split: ["had before" if one else "new" for one in repeated(split)],
    }
    if split.log.times is not None:
        found["rhythm"] = _rhythm
    return {name: dict(zip(ids, classes(split), strict=True)) for name, classes in found.items()}


def _history(split: Split) -> list[str]:
    lengths = (split.cuts - split.starts).tolist()
    return [next((name for below, name in LENGTHS if length < below), "50+") for length in lengths]


def _popularity(split: Split) -> list[str]:
    """Head: the most popular items with a fifth of all training events; tail: the least with two fifths; cold: none."""
    counts = split.train.popularity
    order = np.argsort(-counts, kind="stable")
    share = np.empty(len(counts))
    share[order] = (np.cumsum(counts[order]) - counts[order]) / max(counts.sum(), 1)
    targets = split.log.codes[split.targets]
    return [
        "cold"
        if not counts[code]
        else "head"
        if share[code] < HEAD
        else "tail"
        if share[code] >= 1 - TAIL
        else "middle"
        for code in targets.tolist()
    ]


def _rhythm(split: Split) -> list[str]:
    """UniRec (2024): the 40 % of users whose gaps between events vary most are uneven."""
    times = np.zeros(len(split.log)) if split.log.times is None else split.log.times
    spans = zip(split.starts.tolist(), split.cuts.tolist(), strict=True)
    spread = np.array([np.diff(times[start:cut]).var() if cut - start > 1 else 0.0 for start, cut in spans])
    border = np.quantile(spread, 1 - UNEVEN)
    return ["uneven" if one > border else "even" for one in spread]
