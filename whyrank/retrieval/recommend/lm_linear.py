"""Collaborative filtering in the space of a language model: a linear map of the items' texts, learnt from events."""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags

from whyrank.encoders import bi_encoder
from whyrank.errors import need
from whyrank.fields import Above, NotNegative, Positive
from whyrank.retrieval.recommend.base import Histories, Recommender, Scores
from whyrank.retrieval.recommend.counts import users_by_items
from whyrank.types import Catalogue

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class LMLinear(Recommender):
    """A user is the mean of the items' text vectors; one linear map of both is learnt, and the cosine scores.

    Sheng and others, "Language representations can be what recommenders need" (AlphaRec), 2025: the vectors are of a
    frozen language model, the loss is InfoNCE over sampled items. New items are scored by their text, as old ones are.
    Needs the extra `dense` (`minilm` for the model that comes along).

    Attributes:
        model: an encoder, as for `dense`.
        last: how many of the last events a user is the mean of; 0 takes all.
        dimensions: of the space that the map leads to.
        temperature: of the loss.
        negatives: how many items are drawn for each step, the same for the whole batch.
        epochs: how often all events are gone through.
        batch_size: how many events a step learns from.
        rate: of Adam.
        layers: rounds of LightGCN over users and items after the map, averaged with it; 0 for none.
    """

    model: str = "minilm"
    last: NotNegative = 0
    dimensions: Positive = 64
    temperature: Annotated[float, Above(0)] = 0.15
    negatives: Positive = 256
    epochs: NotNegative = 10
    batch_size: Positive = 4096
    rate: Annotated[float, Above(0)] = 5e-3
    layers: NotNegative = 0

    def _fit(self, catalogue: Catalogue) -> Vectors:
        encoder = bi_encoder(self.model, asked_by="lm_linear", device=None, max_length=None, trust_remote_code=False)
        given = np.asarray(encoder.encode([one.content for one in catalogue], "document"), dtype=np.float32)
        seen = users_by_items(catalogue.train).astype(np.float32)
        users = _mean(seen) @ given
        mapped = given @ self._learnt(given, users, catalogue.train.rows, catalogue.train.codes)
        return _unit(_propagated(mapped, seen, self.layers) if self.layers else mapped)

    def _scores(self, histories: Histories) -> Scores:
        users = _unit(histories.latest(self.last).astype(np.float32) @ self._state)
        scores: Scores = 1.0 + (users @ self._state.T).astype(np.float64)
        return scores

    def _learnt(self, items: Vectors, users: Vectors, rows: NDArray[Any], codes: NDArray[Any]) -> Vectors:
        """(d, dimensions) the map."""
        torch = need("torch", extra="dense", asked_by="lm_linear")
        unit = torch.nn.functional.normalize
        chance = torch.Generator().manual_seed(self.seed)
        weights = torch.nn.Parameter(
            torch.randn(items.shape[1], self.dimensions, generator=chance) / np.sqrt(items.shape[1])
        )
        adam = torch.optim.Adam([weights], lr=self.rate)
        of_items, of_users = torch.from_numpy(items), torch.from_numpy(users)
        who, what = torch.from_numpy(rows.astype(np.int64)), torch.from_numpy(codes.astype(np.int64))
        for _ in range(self.epochs):
            for batch in torch.randperm(len(what), generator=chance).split(self.batch_size):
                drawn = torch.randint(len(items), (self.negatives,), generator=chance)
                user = unit(of_users[who[batch]] @ weights, dim=1)
                own = (user * unit(of_items[what[batch]] @ weights, dim=1)).sum(1, keepdim=True)
                others = user @ unit(of_items[drawn] @ weights, dim=1).T
                logits = torch.cat([own, others], dim=1) / self.temperature
                loss = torch.nn.functional.cross_entropy(logits, torch.zeros(len(batch), dtype=torch.int64))
                adam.zero_grad()
                loss.backward()
                adam.step()
        learnt: Vectors = weights.detach().numpy()
        return learnt


def _mean(seen: csr_matrix) -> csr_matrix:
    sums = np.asarray(seen.sum(axis=1)).ravel()
    return (diags(1 / np.maximum(sums, 1)) @ seen).tocsr().astype(np.float32)


def _propagated(items: Vectors, seen: csr_matrix, layers: int) -> Vectors:
    """The mean of the items' vectors and of what 1, 2 … rounds over users and back make of them (LightGCN, 2020)."""
    of_users, of_items = np.maximum(seen.sum(axis=1), 1), np.maximum(seen.sum(axis=0), 1)
    scaled = diags(np.asarray(of_users).ravel() ** -0.5) @ seen @ diags(np.asarray(of_items).ravel() ** -0.5)
    rounds = [items]
    for _ in range(layers):
        rounds.append((scaled.T @ (scaled @ rounds[-1])).astype(np.float32))
    mean: Vectors = np.mean(rounds, axis=0, dtype=np.float32)
    return mean


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit
