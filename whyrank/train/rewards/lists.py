"""Rewards for orders and choices: a permutation that names every passage once, or it earns no more than a failure.

Lists are read by the format that rendered the prompt. Three outcomes: *malformed* (thought or tags missing, or cut
off), *wrong* (numbers missing, twice or out of range) and exact; only an exact list is ever measured.
"""

import math
import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Annotated, ClassVar, Literal

from whyrank.errors import BadInput
from whyrank.eval.orders import ndcg, rbo, recall
from whyrank.fields import Above, AtLeast, AtMost, Below, Positive
from whyrank.llm.answer import Ok
from whyrank.rerank.formats import Choice, ChoiceFormat, Format, Permutation, RankingFormat
from whyrank.train.rewards.base import Each, Value, kept, text_of, thought_of
from whyrank.types import RankTask

Outcome = Literal["malformed", "wrong", "exact"]


def read_order(format: Format[Permutation], completion: Ok, n: int) -> tuple[Outcome, tuple[int, ...]]:
    """How well a completion kept to the format, and the order that it gives to n passages."""
    parsed = format.parse(completion, n)
    if not kept(format, completion) or parsed.status in ("truncated", "no_answer"):
        return "malformed", parsed.permutation
    return ("exact" if parsed.status == "exact" else "wrong"), parsed.permutation


@dataclass(frozen=True)
class OrderReward(Each):
    """A reward for an order; does not apply (None) to a list in which nothing is relevant.

    Attributes:
        format: the format that the prompts were rendered with.
    """

    malformed: ClassVar[float] = -1.0
    wrong: ClassVar[float] = 0.0

    _: KW_ONLY
    format: Format[Permutation] = field(default_factory=RankingFormat)

    def _value(self, completion: Ok, task: RankTask) -> Value:
        if not task.relevant:
            return None
        outcome, order = read_order(self.format, completion, len(task.documents))
        if outcome == "malformed":
            return self.malformed
        return self._worth(order, task) if outcome == "exact" else self._repaired_worth(order, task)

    @abstractmethod
    def _worth(self, order: Sequence[int], task: RankTask) -> float:
        """What a permutation of the documents is worth; at least `wrong`."""

    def _repaired_worth(self, order: Sequence[int], task: RankTask) -> float:
        """What a list that is not exact is worth, of which `order` is the repair."""
        return self.wrong


@dataclass(frozen=True)
class NDCG(OrderReward):
    """nDCG at k of the order; 0 for a list that is not exact, −1 without thought or tags.

    Attributes:
        k: the cut-off.
        repaired: a list that is not exact earns this share of what it is worth once it is repaired as in inference.
            Where few lists are exact, 0 teaches their form before their order, and the easiest form is to copy the list
            as shown; below 1 an exact list always earns more than a wrong one of the same order.
    """

    k: Positive = 10
    repaired: Annotated[float, AtLeast(0), Below(1)] = 0.0

    def _worth(self, order: Sequence[int], task: RankTask) -> float:
        return ndcg(_ranked(task.gains, order), self.k)

    def _repaired_worth(self, order: Sequence[int], task: RankTask) -> float:
        return self.repaired * self._worth(order, task)


@dataclass(frozen=True)
class MultiView(OrderReward):
    """nDCG + .2 recall + .1 RBO with the teacher's order, ReasonRank's multi-view reward (2508.07050, 2025).

    The task must carry an order. The paper leaves p open, and its code computes the average overlap, which is p=1.

    Attributes:
        p: persistence of RBO; 1 is the average overlap.
        recall: weight of recall at k.
        rbo: weight of RBO (extrapolated, so that the teacher's own order has 1).
        k: cut-off of nDCG and recall.
        binary: count each grade above 0 as 1, as the paper does.
        compat: "reasonrank" reads and scores as its code does, strict about tags, with its two leaks: the number 0
            stands for the last passage, and numbers out of range pass. To compare with; never to train on. Needs p=1.
    """

    p: Annotated[float, Above(0), AtMost(1)] = 0.9
    recall: float = 0.2
    rbo: float = 0.1
    k: Positive = 10
    binary: bool = True
    compat: Literal["", "reasonrank"] = ""

    def __post_init__(self) -> None:
        """Refuse another persistence than that of the code which is to be matched."""
        super().__post_init__()
        if self.compat and self.p != 1:
            raise BadInput(f"multiview: the code of ReasonRank has the average overlap: set p=1.0, not {self.p}")

    def _value(self, completion: Ok, task: RankTask) -> Value:
        if self.rbo and not task.order:
            raise BadInput(f"task {task.query.id!r} carries no order, which multiview compares with: or set rbo=0.0")
        return self._leaky(completion, task) if self.compat and task.relevant else super()._value(completion, task)

    def _worth(self, order: Sequence[int], task: RankTask) -> float:
        return self._views(order, task) + (self.rbo * rbo(order, task.places, self.p) if self.rbo else 0.0)

    def _views(self, order: Sequence[int], task: RankTask) -> float:
        gains = [float(gain > 0) for gain in task.gains] if self.binary else task.gains
        ranked = _ranked(gains, order)
        return ndcg(ranked, self.k) + self.recall * recall(ranked, self.k)

    def _leaky(self, completion: Ok, task: RankTask) -> float:
        """As the published reward computes it: no range check, and −1 is Python's last item."""
        answer = _strict(text_of(completion))
        if answer is None:
            return self.malformed
        named, n = [int(digits) - 1 for digits in re.findall(r"\d+", answer)], len(task.documents)
        if len(named) != n or len(set(named)) != n:
            return self.wrong
        held = [number % n for number in named if number < n]
        order = list(dict.fromkeys([*held, *range(n)]))
        return self._views(order, task) + self.rbo * rbo(named, task.places, 1.0)


def _strict(text: str) -> str | None:
    r"""What `<think>.*?</think>\s*<answer>(.*?)</answer>` finds, in linear time; None where it finds nothing."""
    start, end = text.find("<think>"), text.rfind("</answer>")
    opened = _ANSWERS.search(text, start, end) if 0 <= start < end else None
    return text[opened.end() :].partition("</answer>")[0] if opened else None


_ANSWERS = re.compile(r"</think>\s*<answer>")


@dataclass(frozen=True)
class NDCGGain(OrderReward):
    """nDCG of the order less nDCG of the list as it was shown, from −1 to 1: copying a good list earns nothing.

    Attributes:
        k: the cut-off.
    """

    wrong: ClassVar[float] = -1.0
    k: Positive = 10

    def _worth(self, order: Sequence[int], task: RankTask) -> float:
        return ndcg(_ranked(task.gains, order), self.k) - ndcg(task.gains, self.k)


@dataclass(frozen=True)
class Improvement(OrderReward):
    """The share of what could be gained that the order gained over the list as shown, and 0 where it gained nothing.

    Copying the list, the first thing that rerankers learn, earns 0 whatever the list; so does harm. It does not apply
    to a list that is ideal as shown. Show lists in shuffled order: after a good first stage little can be gained.
    After the conditional reward of GR2 (2602.07774, 2026).

    Attributes:
        k: the cut-off.
    """

    k: int = 10

    def _value(self, completion: Ok, task: RankTask) -> Value:
        return None if 1 - ndcg(task.gains, self.k) < _IDEAL else super()._value(completion, task)

    def _worth(self, order: Sequence[int], task: RankTask) -> float:
        return max(0.0, gain_share(task.gains, order, self.k, -1.0))


@dataclass(frozen=True)
class REARANK(OrderReward):
    """.8 of the gain over the list as shown, as a share of what could be gained, + .1 for tags + .1 for the list.

    Source: REARANK (2505.20046, 2025). The share falls without bound where the list was near its ideal, so it is
    clipped at `floor`. A list that was ideal already has no gain to divide by: kept, it has the share 1, lost, `floor`,
    to which the formula tends. A list that is not exact has the share `floor` too: no valid order earns less.

    Attributes:
        k: the cut-off.
        floor: the least share, at most 0.
    """

    k: Positive = 10
    floor: float = -1.0

    def _value(self, completion: Ok, task: RankTask) -> Value:
        if not task.relevant:
            return None
        outcome, order = read_order(self.format, completion, len(task.documents))
        exact = outcome == "exact"
        share = self._worth(order, task) if exact else self.floor
        return 0.8 * share + 0.1 * (outcome != "malformed") + 0.1 * exact

    def _worth(self, order: Sequence[int], task: RankTask) -> float:
        return gain_share(task.gains, order, self.k, self.floor)


@dataclass(frozen=True)
class TFRank(OrderReward):
    """TFRank's listwise reward: (ideal + gain share) / 2, + .5 for a thought of proper length (2508.09539, 2025).

    `ideal` is 1 where no document stands above a better one. The share of what could be gained is clipped to −5 to 5,
    and is −5 for a list that is not exact.

    Attributes:
        k: the cut-off.
        shortest: least characters of a proper thought.
        longest: most characters of a proper thought.
    """

    k: Positive = 10
    shortest: int = 256
    longest: int = 4096

    def _value(self, completion: Ok, task: RankTask) -> Value:
        if not task.relevant:
            return None
        outcome, order = read_order(self.format, completion, len(task.documents))
        worth = self._worth(order, task) if outcome == "exact" else _TFRANK_FLOOR / 2
        proper = outcome != "malformed" and self.shortest <= len(thought_of(completion)) <= self.longest
        return worth + 0.5 * proper

    def _worth(self, order: Sequence[int], task: RankTask) -> float:
        ranked = _ranked(task.gains, order)
        ideal = ranked == sorted(ranked, reverse=True)
        return (ideal + gain_share(task.gains, order, self.k, _TFRANK_FLOOR)) / 2


_TFRANK_FLOOR = -5.0


@dataclass(frozen=True)
class LogRank(OrderReward):
    """1 / log2(1 + rank) of the first relevant document: nDCG where only one is relevant."""

    def _worth(self, order: Sequence[int], task: RankTask) -> float:
        return 1 / math.log2(1 + _first_rank(order, task))


@dataclass(frozen=True)
class RankLadder(OrderReward):
    """1 where the first relevant document is first, .5 down to rank 5, 0 to 10, −.5 to 20, else −1 (STARec, 2025)."""

    wrong: ClassVar[float] = -1.0

    def _worth(self, order: Sequence[int], task: RankTask) -> float:
        rank = _first_rank(order, task)
        return next((worth for last, worth in ((1, 1.0), (5, 0.5), (10, 0.0), (20, -0.5)) if rank <= last), -1.0)


@dataclass(frozen=True)
class PrefixLadder(OrderReward):
    """How far the id of the first document goes along with a relevant one's, for ids that are paths: `fish/cod/7`.

    1 where it is relevant itself; else by the number of leading steps that it shares with the nearest relevant id.
    Source: the verifiable reward of GREAM (2025).

    Attributes:
        steps: the worth of 1, 2, 3 … shared steps, the last for more.
        separator: what parts the steps of an id.
    """

    malformed: ClassVar[float] = 0.0
    steps: tuple[float, ...] = (0.5, 0.707, 0.866, 0.95)
    separator: str = "/"

    def __post_init__(self) -> None:
        """Refuse steps by which a near miss would be worth as much as the document itself."""
        super().__post_init__()
        if not self.steps or list(self.steps) != sorted(self.steps) or not 0 <= self.steps[0] <= self.steps[-1] < 1:
            raise BadInput(f"prefix_ladder: steps must rise from at least 0 to below 1, not {self.steps}")

    def _worth(self, order: Sequence[int], task: RankTask) -> float:
        first = task.documents[order[0]].id
        if task.gains[order[0]] > 0:
            return 1.0
        relevant = [one.id for one, gain in zip(task.documents, task.gains, strict=True) if gain > 0]
        shared = max(self._shared(first, id) for id in relevant)
        return self.steps[min(shared, len(self.steps)) - 1] if shared else 0.0

    def _shared(self, one: str, two: str) -> int:
        pairs = list(zip(one.split(self.separator), two.split(self.separator), strict=False))
        return next((at for at, (left, right) in enumerate(pairs) if left != right), len(pairs))


@dataclass(frozen=True)
class RankR1(Each):
    """1 where the passage chosen is the best of the list and the form is kept, else 0 (Rank-R1, 2503.06034, 2025).

    Attributes:
        format: the format that the prompts were rendered with.
    """

    _: KW_ONLY
    format: Format[Choice] = field(default_factory=ChoiceFormat)

    def _value(self, completion: Ok, task: RankTask) -> Value:
        if not task.relevant:
            return None
        choice = self.format.parse(completion, len(task.documents))
        if not kept(self.format, completion) or choice.status != "exact" or choice.best is None:
            return 0.0
        return float(task.gains[choice.best] == max(task.gains))


@dataclass(frozen=True)
class RankR1List(OrderReward):
    """Rank-R1's 0/1 reward for an order: 1 where the first passage of an exact list is the best, else 0."""

    malformed: ClassVar[float] = 0.0

    def _worth(self, order: Sequence[int], task: RankTask) -> float:
        return float(task.gains[order[0]] == max(task.gains))


def gain_share(gains: Sequence[float], order: Sequence[int], k: int, floor: float) -> float:
    """(nDCG of the order − nDCG as shown) / (1 − nDCG as shown), no less than `floor`; 1 at most.

    Where the list as shown is ideal: 1 if the order is too, else `floor`.
    """
    if not floor <= 0:
        raise BadInput(f"the least share of gain must be at most 0, not {floor}")
    shown, now = ndcg(gains, k), ndcg(_ranked(gains, order), k)
    if 1 - shown < _IDEAL:
        return 1.0 if 1 - now < _IDEAL else floor
    return max((now - shown) / (1 - shown), floor)


_IDEAL = 1e-9
"""Below this nDCG lacks nothing but rounding."""


def _ranked(gains: Sequence[float], order: Sequence[int]) -> list[float]:
    return [gains[place] for place in order]


def _first_rank(order: Sequence[int], task: RankTask) -> int:
    return next(rank for rank, place in enumerate(order, start=1) if task.gains[place] > 0)
