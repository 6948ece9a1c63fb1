"""The network behind `sasrec` and `bert4rec`: self-attention over a history, with steps of latent reasoning after it.

Needs torch; imported where one is trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class NetworkShape:
    """The size of the network.

    Attributes:
        items: how many items there are; two codes more stand for padding and for a masked item.
        dimensions: of all vectors.
        layers: blocks of attention.
        heads: of attention.
        dropout: everywhere.
        longest: how many of the last events are read.
        both_ways: whether events see later ones, as in BERT; else only earlier ones.
        steps: of latent reasoning after the last event.
    """

    items: int
    dimensions: int
    layers: int
    heads: int
    dropout: float
    longest: int
    both_ways: bool
    steps: int


class SequenceModel(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Histories in, a vector for each event out; items are scored by the product with their embeddings (tied weights).

    Kang and McAuley, "Self-attentive sequential recommendation", 2018; Sun and others, "BERT4Rec", 2019. Reasoning
    steps: Tang and others, "Think before recommend" (ReaRec), 2025.
    """

    def __init__(self, shape: NetworkShape) -> None:
        """Make a network with random weights."""
        super().__init__()
        self.shape, wide = shape, shape.dimensions * (4 if shape.both_ways else 1)
        self.padding, self.masked = shape.items, shape.items + 1
        self.items = nn.Embedding(shape.items + 2, shape.dimensions)
        self.places = nn.Embedding(shape.longest + 1, shape.dimensions)
        self.thoughts = nn.Embedding(max(shape.steps, 1), shape.dimensions)
        block = nn.TransformerEncoderLayer(
            shape.dimensions,
            shape.heads,
            wide,
            shape.dropout,
            "gelu" if shape.both_ways else "relu",
            batch_first=True,
            norm_first=True,
        )
        self.blocks = nn.TransformerEncoder(block, shape.layers, nn.LayerNorm(shape.dimensions), False)
        self.thought_norm = nn.LayerNorm(shape.dimensions)
        self.drop = nn.Dropout(shape.dropout)
        for weights in (self.items.weight, self.places.weight, self.thoughts.weight):
            nn.init.normal_(weights, std=0.02 if shape.both_ways else shape.dimensions**-0.5 / 2)

    def padded(self, histories: Sequence[Tensor]) -> Tensor:
        """(B, L) the last codes of each history, padded on the left."""
        cut = [one[-self.shape.longest - self.shape.both_ways :] for one in histories]
        length = max(1, *map(len, cut)) if cut else 1
        codes = torch.full((len(cut), length), self.padding, dtype=torch.int64)
        for row, one in enumerate(cut):
            if len(one):
                codes[row, -len(one) :] = one
        return codes

    def forward(self, codes: Tensor) -> list[Tensor]:
        """The vectors (B, L, d) of the events, and the vector (B, d) after each step of reasoning."""
        length = codes.shape[1]
        places = torch.arange(len(self.places.weight) - length, len(self.places.weight), device=codes.device)
        vectors = self.drop(self.items(codes) * self.shape.dimensions**0.5 + self.places(places))
        empty = codes == self.padding
        states = [self._attend(vectors, empty)]
        last = states[0][:, -1]
        for step in range(self.shape.steps):
            thought = self.drop(self.thought_norm(last + self.thoughts.weight[step]))
            vectors = torch.cat([vectors, thought[:, None]], dim=1)
            empty = torch.cat([empty, empty.new_zeros(len(empty), 1)], dim=1)
            last = self._attend(vectors, empty)[:, -1]
            states.append(last)
        return states

    def scores(self, vectors: Tensor) -> Tensor:
        """(…, items) how likely each item comes next, before the softmax."""
        return vectors @ self.items.weight[: self.shape.items].T

    def _attend(self, vectors: Tensor, empty: Tensor) -> Tensor:
        size = vectors.shape[1]
        hidden = empty[:, None, :].expand(-1, size, -1)
        if not self.shape.both_ways:
            hidden = hidden | torch.ones(size, size, dtype=torch.bool, device=empty.device).triu(1)
        hidden = hidden & ~torch.eye(size, dtype=torch.bool, device=empty.device)  # padding sees itself, and nobody it
        found: Tensor = self.blocks(vectors, mask=hidden.repeat_interleave(self.shape.heads, dim=0))
        return found


def diversity(states: Sequence[Tensor]) -> Tensor:
    """The mean Kullback-Leibler divergence between the distributions (B, items) of each pair of steps (ReaRec, ERL)."""
    logs = [F.log_softmax(one, dim=-1) for one in states]
    pairs = [
        F.kl_div(one, two, reduction="batchmean", log_target=True)
        for at, one in enumerate(logs)
        for place, two in enumerate(logs)
        if at != place
    ]
    return torch.stack(pairs).mean()


def halted(states: Sequence[Tensor], threshold: float) -> Tensor:
    """(B, items) the scores of the first step that changed the distribution by less than `threshold` (ManCAR, 2026).

    Args:
        states: (B, items) the scores of each step in turn.
        threshold: of KL(before ‖ after); 0 takes the last step of all.
    """
    chosen, still = states[0], torch.ones(len(states[0]), dtype=torch.bool, device=states[0].device)
    for before, after in pairwise(states):
        chosen = torch.where(still[:, None], after, chosen)
        moved = F.kl_div(F.log_softmax(after, -1), F.log_softmax(before, -1), reduction="none", log_target=True).sum(-1)
        still = still & (moved >= threshold)
    return chosen
