"""Personalised PageRank between items and the users who had them."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from scipy.sparse import csr_matrix, diags

from whyrank.fields import Above, Below, Positive
from whyrank.retrieval.recommend.base import Histories, Recommender, Scores
from whyrank.retrieval.recommend.counts import users_by_items
from whyrank.types import Catalogue


@dataclass(frozen=True)
class PageRank(Recommender):
    """Where a walk between items and users ends that begins at the user's last items, and now and then begins anew.

    r = restart · p + (1 − restart) · Âᵀ r, p even on the last items; the power method, from r = p. Haveliwala,
    "Topic-sensitive PageRank", 2002; as a generator of candidates in G-CRS (2025).

    Attributes:
        last: how many of the last events the walk begins at.
        restart: how likely each step begins anew.
        steps: how many steps of the power method.
    """

    last: Positive = 20
    restart: Annotated[float, Above(0), Below(1)] = 0.15
    steps: Positive = 20

    def _fit(self, catalogue: Catalogue) -> tuple[csr_matrix, csr_matrix]:
        seen = users_by_items(catalogue.train)
        return _stochastic(seen), _stochastic(seen.T.tocsr())

    def _scores(self, histories: Histories) -> Scores:
        to_items, to_users = self._state
        begin = histories.latest(self.last)
        begin.data[:] = 1
        start = _stochastic(begin).T.toarray()
        items, users = start, np.zeros((to_items.shape[0], len(histories)))
        for _ in range(self.steps):
            items, users = (
                self.restart * start + (1 - self.restart) * (to_items.T @ users),
                (1 - self.restart) * (to_users.T @ items),
            )
        return np.ascontiguousarray(items.T)


def _stochastic(matrix: csr_matrix) -> csr_matrix:
    """The matrix with rows that sum to 1; empty ones stay empty."""
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    return (diags(1 / np.maximum(sums, 1)) @ matrix).tocsr()
