"""Recommenders that learn sequences: SASRec with full cross-entropy, BERT4Rec, each with steps of latent reasoning."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from whyrank.errors import BadSpec, need
from whyrank.fields import Above, AtLeast, Below, NotNegative, Positive, Share
from whyrank.progress import progress
from whyrank.registry import name_of
from whyrank.retrieval.recommend.base import Histories, Recommender, Scores
from whyrank.types import Catalogue
from whyrank.types.hashing import id_keys, mixed

if TYPE_CHECKING:
    from whyrank.retrieval.recommend.sequence_model import SequenceModel

_LOG = logging.getLogger(__name__)
_BUCKET = 50  # batches between which histories are sorted by length


@dataclass(frozen=True)
class _Sequential(Recommender):
    """What both have in common; see the subclasses.

    Attributes:
        dimensions: of all vectors.
        layers: blocks of attention.
        heads: of attention.
        dropout: everywhere.
        longest: how many of the last events are read.
        epochs: how often all histories are gone through, at most.
        patience: stop after so many epochs without a better nDCG@10 on the last training events of `held_out` users.
        held_out: of how many users, by hash, the last training event is kept for that; 0 trains all epochs.
        batch_size: histories in a step.
        rate: of Adam.
        negatives: items drawn for each step, instead of all items in the softmax; 0 for all.
        reason_steps: steps of latent reasoning after the last event (ReaRec); 0 for none.
        reason: how they learn and are read: "erl" takes the mean of all steps and keeps them apart, "prl" the last one
            and sharpens step by step.
        halt: for "prl": stop where a step changes the distribution by less (KL; ManCAR); 0 takes all steps.
        device: such as "cpu" or "cuda:0"; None takes the GPU where there is one.
    """

    _: KW_ONLY
    dimensions: Positive = 64
    layers: Positive = 2
    heads: Positive = 1
    dropout: Annotated[float, AtLeast(0), Below(1)] = 0.1
    longest: Positive = 50
    epochs: Positive = 200
    patience: Positive = 10
    held_out: NotNegative = 1000
    batch_size: Positive = 128
    rate: Annotated[float, Above(0)] = 1e-3
    negatives: NotNegative = 0
    reason_steps: NotNegative = 0
    reason: Literal["erl", "prl"] = "erl"
    halt: Annotated[float, AtLeast(0)] = 0.0
    device: str | None = None

    both_ways: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse a network that cannot be built."""
        super().__post_init__()
        if self.dimensions % self.heads:
            raise BadSpec(
                f"{self._called()}: dimensions must be a multiple of heads, {self.heads}, not {self.dimensions}"
            )

    def _fit(self, catalogue: Catalogue) -> "SequenceModel":
        torch = need("torch", extra="dense", asked_by=name_of(type(self)))
        from whyrank.retrieval.recommend.sequence_model import NetworkShape, SequenceModel

        train = catalogue.train
        codes = torch.from_numpy(train.codes.astype(np.int64))
        histories = [codes[start:stop] for start, stop in zip(train.offsets, train.offsets[1:], strict=False)]
        kept = self._held_out(train.users, [len(one) for one in histories])
        asked = [(histories[at][:-1], int(histories[at][-1])) for at in kept]
        for at in kept:
            histories[at] = histories[at][:-1]
        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            shape = NetworkShape(
                len(train.items), self.dimensions, self.layers, self.heads, self.dropout, self.longest, self.both_ways,
                self.reason_steps,
            )  # fmt: skip
            model = SequenceModel(shape).to(device)
            self._train(model, [one for one in histories if len(one) > 1], asked)
        ready: SequenceModel = model.eval()
        return ready

    def _held_out(self, users: Sequence[str], lengths: Sequence[int]) -> list[int]:
        long = [at for at, length in enumerate(lengths) if length > 2]
        keys = mixed(self.seed, id_keys(users[at] for at in long))
        return [long[at] for at in np.argsort(keys, kind="stable")[: min(self.held_out, len(long) // 2)].tolist()]

    def _train(self, model: "SequenceModel", histories: list[Any], asked: list[tuple[Any, int]]) -> None:
        torch = need("torch", extra="dense")
        adam = torch.optim.Adam(model.parameters(), lr=self.rate, betas=(0.9, 0.98))
        best, best_weights, since = -1.0, None, 0
        with progress(f"training {self!r}", self.epochs) as advance:
            for epoch in range(self.epochs):
                model.train()
                total, steps = 0.0, 0
                for batch in self._batches(histories):
                    loss = self._loss(model, self._cut(batch) if self.reason_steps else batch)
                    adam.zero_grad()
                    loss.backward()
                    torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
                    adam.step()
                    total, steps = total + float(loss.detach()), steps + 1
                advance(1)
                value = self._value(model.eval(), asked) if asked else 0.0
                _LOG.info("epoch %d: loss %.4f, nDCG@10 held out %.4f", epoch + 1, total / max(steps, 1), value)
                if asked and value <= best:
                    since += 1
                    if since >= self.patience:
                        break
                else:
                    best, since = value, 0
                    best_weights = {name: one.clone() for name, one in model.state_dict().items()}
        if best_weights is not None:
            model.load_state_dict(best_weights)

    def _batches(self, histories: list[Any]) -> Iterator[list[Any]]:
        """Histories in random order, those of about the same length together."""
        torch = need("torch", extra="dense")
        order = torch.randperm(len(histories)).tolist()
        size = self.batch_size * _BUCKET
        batches: list[list[Any]] = []
        for at in range(0, len(order), size):
            near = sorted(order[at : at + size], key=lambda place: len(histories[place]))
            batches += [
                [histories[place] for place in near[first : first + self.batch_size]]
                for first in range(0, len(near), self.batch_size)
            ]
        for at in torch.randperm(len(batches)).tolist():
            yield batches[at]

    def _cut(self, batch: list[Any]) -> list[Any]:
        """Every second history up to a random event, so that thoughts after short histories are learnt, too."""
        torch = need("torch", extra="dense")
        ends = [int(torch.randint(2, len(one) + 1, ())) if at % 2 else len(one) for at, one in enumerate(batch)]
        return [one[:end] for one, end in zip(batch, ends, strict=True)]

    def _value(self, model: "SequenceModel", asked: list[tuple[Any, int]]) -> float:
        """nDCG@10 on held-out events, items of the history left out."""
        gains = 0.0
        for at in range(0, len(asked), 256):
            block = asked[at : at + 256]
            scores = self._last_scores(model, [history for history, _ in block])
            for row, (history, target) in zip(scores, block, strict=True):
                row[history.numpy()] = -np.inf
                rank = 1 + int((row > row[target]).sum())
                gains += 1 / np.log2(1 + rank) if rank <= 10 and row[target] > -np.inf else 0.0
        return float(gains / len(asked))

    def _loss(self, model: "SequenceModel", batch: list[Any]) -> Any:  # noqa: ANN401 (a tensor of torch)
        raise NotImplementedError

    def _asked(self, model: "SequenceModel", histories: list[Any]) -> Any:  # noqa: ANN401 (a tensor of torch)
        """(B, L) histories as they are read when the next item is asked for."""
        return model.padded(histories)

    def _entropy(self, model: "SequenceModel", vectors: Any, targets: Any, sharper: float = 1.0) -> Any:  # noqa: ANN401
        """Cross-entropy of the targets (P,) for vectors (P, d), over all items or over drawn ones."""
        torch = need("torch", extra="dense")
        entropy = torch.nn.functional.cross_entropy
        if not self.negatives:
            return entropy(model.scores(vectors) / sharper, targets)
        drawn = torch.randint(model.shape.items, (self.negatives,), device=vectors.device)
        own = (vectors * model.items(targets)).sum(-1, keepdim=True)
        others = (vectors @ model.items(drawn).T).masked_fill(drawn == targets[:, None], -torch.inf)
        return entropy(
            torch.cat([own, others], 1) / sharper, torch.zeros(len(targets), dtype=torch.int64, device=own.device)
        )

    def _reasoned(self, model: "SequenceModel", states: list[Any], targets: Any) -> Any:  # noqa: ANN401
        """What the steps after the last event add to the loss; `targets` (B,) are what comes next."""
        from whyrank.retrieval.recommend.sequence_model import diversity

        if self.reason == "erl":
            mean = sum(states) / len(states)
            apart = diversity([model.scores(one) for one in states])
            return self._entropy(model, mean, targets) - 0.01 * apart.clamp(max=10.0)
        last = len(states) - 1
        return sum(self._entropy(model, one, targets, 2.0 ** (last - at)) for at, one in enumerate(states)) / len(
            states
        )

    def _last_scores(self, model: "SequenceModel", histories: list[Any]) -> Scores:
        torch = need("torch", extra="dense")
        from whyrank.retrieval.recommend.sequence_model import halted

        with torch.inference_mode():
            vectors, *thoughts = model(self._asked(model, histories).to(model.items.weight.device))
            states = [vectors[:, -1], *thoughts]
            if thoughts and self.reason == "prl":
                found = halted([model.scores(one) for one in states], self.halt)
            else:
                found = model.scores(sum(states) / len(states))
        scores: Scores = found.double().cpu().numpy()
        return scores

    def _scores(self, histories: Histories) -> Scores:
        torch = need("torch", extra="dense")
        spans = zip(histories.offsets, histories.offsets[1:], strict=False)
        codes = [torch.from_numpy(histories.codes[start:stop].astype(np.int64)) for start, stop in spans]
        scores = self._last_scores(self._state, codes)
        scores -= scores.min(axis=1, keepdims=True) - 1.0  # all are found, also those that are unlikely
        return scores


@dataclass(frozen=True)
class SASRec(_Sequential):
    """SASRec (Kang and McAuley, 2018) with full cross-entropy at every position, which matters more than the network.

    Trained with one negative, as published, the same network finds a third less (Petrov and Macdonald, "gSASRec", 2023;
    Klenitskiy and Vasilev, "Turning dross into gold loss", 2023). Needs torch (extra `dense`).
    """

    def _loss(self, model: "SequenceModel", batch: list[Any]) -> Any:  # noqa: ANN401 (a tensor of torch)
        device = model.items.weight.device
        targets = model.padded([one[1:] for one in batch]).to(device)
        codes = model.padded([one[:-1] for one in batch]).to(device)
        vectors, *thoughts = model(codes)
        there = targets != model.padding
        loss = self._entropy(model, vectors[there], targets[there])
        return loss + self._reasoned(model, [vectors[:, -1], *thoughts], targets[:, -1]) if thoughts else loss


@dataclass(frozen=True)
class BERT4Rec(_Sequential):
    """BERT4Rec (Sun and others, 2019): events that were masked are told from both sides; the next one is a mask.

    It needs many more epochs than SASRec (Petrov and Macdonald, "A systematic review and replicability study of
    BERT4Rec", 2022). Needs torch (extra `dense`).

    Attributes:
        mask: how likely an event is masked; in a fifth of the histories only the last one is.
    """

    _: KW_ONLY
    heads: Positive = 2
    dropout: Annotated[float, AtLeast(0), Below(1)] = 0.2
    mask: Share = 0.4

    both_ways: ClassVar[bool] = True

    def _asked(self, model: "SequenceModel", histories: list[Any]) -> Any:  # noqa: ANN401 (a tensor of torch)
        torch = need("torch", extra="dense")
        ending = torch.tensor([model.masked])
        return model.padded([torch.cat([one, ending]) for one in histories])

    def _loss(self, model: "SequenceModel", batch: list[Any]) -> Any:  # noqa: ANN401 (a tensor of torch)
        torch = need("torch", extra="dense")
        codes = model.padded(batch)
        there = codes != model.padding
        masked = there & (torch.rand(codes.shape) < self.mask)
        only_last = torch.rand(len(codes)) < 0.2
        masked[only_last] = False
        masked[:, -1] |= only_last | ~masked.any(1)
        if self.reason_steps:
            masked[:, -1] = True
        device = model.items.weight.device
        shown, targets, masked = codes.masked_fill(masked, model.masked).to(device), codes.to(device), masked.to(device)
        vectors, *thoughts = model(shown)
        loss = self._entropy(model, vectors[masked], targets[masked])
        return loss + self._reasoned(model, [vectors[:, -1], *thoughts], targets[:, -1]) if thoughts else loss
