"""Recommenders that only count: popularity, chain, ItemKNN, Swing. Seconds of one processor, and hard to beat."""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags

from whyrank.errors import BadInput
from whyrank.fields import INFINITE, Above, AtLeast, AtMost, Length, Positive
from whyrank.renamed import renamed
from whyrank.retrieval.recommend.base import Histories, Recommender, Scores
from whyrank.types import Catalogue, Interactions
from whyrank.types.hashing import id_keys, mixed


@dataclass(frozen=True)
class Popularity(Recommender):
    """The items with most events in training."""

    def _fit(self, catalogue: Catalogue) -> Scores:
        return catalogue.train.popularity.astype(np.float64)

    def _scores(self, histories: Histories) -> Scores:
        return np.tile(self._state, (len(histories), 1))


@dataclass(frozen=True)
class Recent(Recommender):
    """The items with most events in training in the time before the query; those without any follow by popularity.

    The window ends with the last event of the history, or where training ends if that is before.

    Attributes:
        window: how long it is, in the unit of the source's times: seconds, for most.
    """

    window: Annotated[float, Above(0), INFINITE] = 30 * 86400.0

    def _fit(self, catalogue: Catalogue) -> tuple[NDArray[np.float64], NDArray[np.int32], Scores]:
        train = catalogue.train
        if train.times is None:
            raise BadInput("recent() needs times, which this source does not have: popularity() needs none")
        order = np.argsort(train.times, kind="stable")
        return train.times[order], train.codes[order], train.popularity.astype(np.float64)

    def _scores(self, histories: Histories) -> Scores:
        times, codes, popularity = self._state
        ends = np.minimum(histories.ends, times[-1])
        firsts, stops = np.searchsorted(times, ends - self.window), np.searchsorted(times, ends, side="right")
        spans = zip(firsts.tolist(), stops.tolist(), strict=True)
        counts = [np.bincount(codes[first:stop], minlength=histories.size) for first, stop in spans]
        scores: Scores = np.array(counts, dtype=np.float64) + 1e-9 * popularity
        return scores


@dataclass(frozen=True)
class Chain(Recommender):
    """What followed the last items of a history in the histories of others.

    A transition from an item to the one `g` events later counts `weights[g-1]`; the score of an item sums what the
    last events lead to, each by `decay` less than the one after it, and 1e-9 for each event of the item in training.
    `chain(weights=(1.0,), last=1)` is the first-order Markov chain. The constants are first guesses, tuned nowhere.

    Attributes:
        weights: what a step of 1, 2, 3 … events counts.
        last: how many of the last events count.
        decay: what an event counts against the next one.
    """

    weights: Annotated[tuple[Annotated[float, AtLeast(0)], ...], Length(1)] = (1.0, 0.5, 0.25)
    last: Positive = 5
    decay: Annotated[float, Above(0), AtMost(1)] = 0.5

    def _fit(self, catalogue: Catalogue) -> tuple[csr_matrix, Scores]:
        train = catalogue.train
        return transitions(train, self.weights), train.popularity.astype(np.float64)

    def _scores(self, histories: Histories) -> Scores:
        steps, popularity = self._state
        scores: Scores = (histories.latest(self.last, self.decay) @ steps).toarray()
        scores += 1e-9 * popularity
        return scores


@dataclass(frozen=True)
class ItemKNN(Recommender):
    """Items whose users are those of the last items: cosine between columns of the binary matrix of users and items.

    Sarwar and others, "Item-based collaborative filtering recommendation algorithms", 2001, without a cut to the
    nearest neighbours, which only loses.

    Attributes:
        last: how many of the last events count, all as much.
    """

    last: Positive = 20

    def _fit(self, catalogue: Catalogue) -> csr_matrix:
        seen = users_by_items(catalogue.train)
        common = (seen.T @ seen).tocsr()
        scale = diags(1 / np.sqrt(np.maximum(common.diagonal(), 1)))
        return _without_diagonal((scale @ common @ scale).tocsr())

    def _scores(self, histories: Histories) -> Scores:
        latest = histories.latest(self.last)
        latest.data[:] = 1
        scores: Scores = (latest @ self._state).toarray()
        return scores


@renamed(most="max_users")
@dataclass(frozen=True)
class Swing(Recommender):
    """Items that pairs of users share, the more the less else they share.

    Sim(i, j) = 1/√|U_j| · Σ over u ≠ v who both have i and j of w_u · w_v / (|I_u ∩ I_v| + `overlap`), with
    w_u = (|I_u| + `activity`)^−`beta`. Yang and others, "Large scale product graph construction", 2020, with the
    normalisation of ManCAR (2025).

    Attributes:
        last: how many of the last events count, all as much.
        activity: α1, added to the number of a user's items.
        beta: how much users with many items are held back.
        overlap: α2, added to the number of shared items.
        max_users: of an item's users so many are taken, by hash, so that popular items do not take quadratic time.
    """

    last: Positive = 20
    activity: Annotated[float, AtLeast(0)] = 5.0
    beta: float = 0.5
    overlap: Annotated[float, AtLeast(0)] = 1.0
    max_users: Annotated[int, AtLeast(2)] = 1000

    def _fit(self, catalogue: Catalogue) -> csr_matrix:
        seen = users_by_items(catalogue.train)
        weights = (np.asarray(seen.sum(axis=1)).ravel() + self.activity) ** -self.beta
        by_item, users = seen.T.tocsr(), id_keys(catalogue.train.users)
        similar = [self._row(item, seen, by_item, weights, users) for item in range(seen.shape[1])]
        sizes, columns, values = zip(*((len(cols), cols, vals) for cols, vals in similar), strict=True)
        offsets = np.cumsum([0, *sizes])
        found = csr_matrix((np.concatenate(values), np.concatenate(columns), offsets), shape=(seen.shape[1],) * 2)
        scale = 1 / np.sqrt(np.maximum(np.diff(by_item.indptr), 1))
        return _without_diagonal((found @ diags(scale)).tocsr())

    def _row(
        self, item: int, seen: csr_matrix, by_item: csr_matrix, weights: Scores, keys: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int32], Scores]:
        """The items similar to one, and how much before they are scaled: Σ over pairs of its users, each pair once."""
        users = by_item.indices[by_item.indptr[item] : by_item.indptr[item + 1]]
        if len(users) > self.max_users:
            users = users[np.argsort(mixed(self.seed, keys[users]), kind="stable")[: self.max_users]]
        mine = seen[users]
        pairs = np.outer(weights[users], weights[users]) / ((mine @ mine.T).toarray() + self.overlap)
        np.fill_diagonal(pairs, 0)
        shared = mine.multiply((mine.T @ pairs).T).sum(axis=0)  # each pair is counted from both sides
        row = np.asarray(shared).ravel() / 2
        found = np.flatnonzero(row)
        return found.astype(np.int32), row[found]

    def _scores(self, histories: Histories) -> Scores:
        latest = histories.latest(self.last)
        latest.data[:] = 1
        scores: Scores = (latest @ self._state).toarray()
        return scores


def transitions(train: Interactions, weights: tuple[float, ...]) -> csr_matrix:
    """(I, I) how often an item was followed by another, `weights[g-1]` for each time at a distance of g events."""
    size, ends = len(train.items), train.offsets[1:][train.rows]
    befores: list[NDArray[Any]] = []
    afters: list[NDArray[Any]] = []
    counts: list[NDArray[Any]] = []
    for gap, weight in enumerate(weights, 1):
        at = np.flatnonzero(np.arange(len(train)) + gap < ends)
        befores.append(train.codes[at])
        afters.append(train.codes[at + gap])
        counts.append(np.full(len(at), weight, dtype=np.float64))
    pairs = (np.concatenate(befores), np.concatenate(afters))
    return csr_matrix((np.concatenate(counts), pairs), shape=(size, size))


def users_by_items(train: Interactions) -> csr_matrix:
    """(U, I) 1 where a user has an item."""
    shape = (len(train.users), len(train.items))
    seen = csr_matrix((np.ones(len(train)), (train.rows, train.codes)), shape=shape)
    seen.data[:] = 1
    return seen


def _without_diagonal(square: csr_matrix) -> csr_matrix:
    square.setdiag(0)
    square.eliminate_zeros()
    return square
