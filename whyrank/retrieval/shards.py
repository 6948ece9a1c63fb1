"""Runs over the parts of one collection become the run over all of it."""

import numpy as np

from whyrank.types import Run


def best_of(one: Run, other: Run, k: int) -> Run:
    """The `k` best of both for each query; of equal scores those of `one` come first."""
    rows = np.concatenate([one.rows, other.rows])
    scores = np.concatenate([one.scores, other.scores])
    order = np.lexsort((-scores, rows))  # stable
    starts = one.offsets + other.offsets
    order = order[np.arange(len(order)) - starts[rows[order]] < k]
    used, codes = np.unique(np.concatenate([one.codes, other.codes + len(one.documents)])[order], return_inverse=True)
    near, far = used[used < len(one.documents)], used[used >= len(one.documents)] - len(one.documents)
    return Run(
        one.query_ids,
        np.concatenate([[0], np.cumsum(np.minimum(np.diff(starts), k))]).astype(np.int64),
        codes.astype(np.int32),
        [*(str(one.documents[at]) for at in near.tolist()), *(str(other.documents[at]) for at in far.tolist())],
        scores[order],
    )
