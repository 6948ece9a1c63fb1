"""Recommenders that read what items are called: a search for the last titles, words that users and items share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags

from whyrank.errors import BadInput
from whyrank.fields import Above, AtMost, Positive
from whyrank.registry import name_of
from whyrank.retrieval.base import Retriever
from whyrank.retrieval.lexical.analysis import analyze
from whyrank.retrieval.recommend.base import Histories, Recommender, Scores
from whyrank.retrieval.recommend.counts import users_by_items
from whyrank.types import Catalogue, Query


@dataclass(frozen=True)
class Titles(Recommender):
    """Searches for the last items by their titles, one by one, and adds up what is found: `titles(bm25())`.

    The whole history as one query finds less: what was long ago outweighs what is wanted next.

    Attributes:
        retriever: what searches, such as `bm25()` or `dense('minilm')`.
        last: for how many of the last events.
        decay: what an event counts against the next one.
        depth: how many items each search brings.
        popular: multiply by log(1 + events of the item in training): deeper recall, other first ranks.
    """

    retriever: Retriever
    last: Positive = 5
    decay: Annotated[float, Above(0), AtMost(1)] = 0.7
    depth: Positive = 1000
    popular: bool = False

    def _fit(self, catalogue: Catalogue) -> "_Found":
        told = [one.title or one.text for one in catalogue]
        _refuse_no_text(told, self)
        factor = np.log1p(catalogue.train.popularity) if self.popular else np.ones(len(told))
        return _Found(self.retriever.ready(catalogue), told, factor, {})

    def _scores(self, histories: Histories) -> Scores:
        latest = histories.latest(self.last, self.decay)
        items = np.unique(latest.indices)
        self._search_for(items.tolist())
        rows = [self._state.rows[item] for item in items.tolist()]
        offsets = np.cumsum([0, *(len(codes) for codes, _ in rows)])
        codes = np.concatenate([np.empty(0, np.int32), *(codes for codes, _ in rows)])
        values = np.concatenate([np.empty(0), *(values for _, values in rows)])
        found = csr_matrix((values, codes, offsets), shape=(len(items), histories.size))
        scores: Scores = (latest[:, items] @ found).toarray()
        scores *= self._state.factor
        return scores

    def _search_for(self, items: Sequence[int]) -> None:
        """Search for those of these items that were not searched for yet."""
        state: _Found = self._state
        new = [item for item in items if item not in state.rows]
        queries = [Query(str(item), state.told[item]) for item in new if state.told[item]]
        run = state.retriever.search(queries, self.depth)
        state.rows.update(dict.fromkeys(new, (np.empty(0, np.int32), np.empty(0))))
        for query, ranking in run.items():
            codes = np.array([self._place[id] for id in ranking.ids], dtype=np.int32)
            state.rows[int(query)] = (codes, np.asarray(ranking.scores, dtype=np.float64))


class _Found(NamedTuple):
    """What `titles` has searched for so far."""

    retriever: Retriever
    told: list[str]
    factor: Scores
    rows: dict[int, tuple[NDArray[np.int32], Scores]]


@dataclass(frozen=True)
class KeywordGraph(Recommender):
    """Items that have the keywords of the user: KALM4Rec's walk from user to keywords to items (2024).

    An item has the words of its title and text, each with tf · log(items / items that have it); the keywords of a user
    are the words of the last items with the highest tf · log(users / users who have it). The score of an item is the
    sum of its weights for them. A query without a history is taken by its text, so that a new user can be given as
    keywords; a word that no item has stands for the one with most trigrams of letters in common.

    Attributes:
        last: how many of the last events count.
        keywords: how many keywords a user has.
    """

    last: Positive = 20
    keywords: Positive = 20

    def _fit(self, catalogue: Catalogue) -> "_Words":
        told = [one.content for one in catalogue]
        _refuse_no_text(told, self)
        known: dict[str, int] = {}
        words = [[known.setdefault(word, len(known)) for word in analyze(text)] for text in told]
        offsets = np.cumsum([0, *map(len, words)])
        flat = np.fromiter((word for one in words for word in one), dtype=np.int32, count=int(offsets[-1]))
        counts = csr_matrix((np.ones(len(flat)), flat, offsets), shape=(len(told), len(known)))
        counts.sum_duplicates()
        has = counts.copy()
        has.data[:] = 1
        users = users_by_items(catalogue.train) @ has
        users.data[:] = 1
        return _Words(known, counts, counts @ diags(_rarity(has)), _rarity(users))

    def _scores(self, histories: Histories) -> Scores:
        state: _Words = self._state
        told = (histories.latest(self.last) @ state.counts @ diags(state.rarity)).tocsr()
        rows = []
        for at, query in enumerate(histories.queries):
            mine = told.indices[told.indptr[at] : told.indptr[at + 1]]
            if len(query.history):
                weights = told.data[told.indptr[at] : told.indptr[at + 1]]
                rows.append(mine[np.lexsort((mine, -weights))][: self.keywords])
            else:
                rows.append(np.array([*dict.fromkeys(map(state.nearest, analyze(query.text)))], dtype=np.int32))
        offsets = np.cumsum([0, *map(len, rows)])
        flat = np.concatenate([np.empty(0, np.int32), *rows]).astype(np.int32)
        chosen = csr_matrix((np.ones(len(flat)), flat, offsets), shape=(len(rows), len(state.known)))
        scores: Scores = (chosen @ state.weights.T).toarray()
        return scores


class _Words(NamedTuple):
    """Words, how often items have them, what they weigh, and how rare they are among users."""

    known: dict[str, int]
    counts: csr_matrix
    weights: csr_matrix
    rarity: Scores

    def nearest(self, word: str) -> int:
        """The number of this word, or of the known one with most trigrams in common (cosine; the first of equals)."""
        if word in self.known:
            return self.known[word]
        mine = _trigrams(word)

        def alike(other: str) -> float:
            theirs = _trigrams(other)
            return float(len(mine & theirs) / np.sqrt(len(mine) * len(theirs)))

        return self.known[max(self.known, key=alike)]


def _trigrams(word: str) -> set[str]:
    padded = f"##{word}##"
    return {padded[at : at + 3] for at in range(len(padded) - 2)}


def _rarity(has: csr_matrix) -> Scores:
    """(K,) the logarithm of how many rows there are to one that has the column."""
    held = np.asarray(has.sum(axis=0)).ravel()
    rarity: Scores = np.log(has.shape[0] / np.maximum(held, 1))
    return rarity


def _refuse_no_text(told: Sequence[str], part: Recommender) -> None:
    if not any(text.strip() for text in told):
        name = name_of(type(part))
        raise BadInput(
            f"{name} reads texts, and no item here has any: name a file of items, or use chain(), item_knn()"
        )
