"""What is learnt from and what is asked: a `Protocol` cuts a log in two, and says so in its id."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from whyrank.datasets.recommendation.pools import Pools
from whyrank.errors import BadInput, BadSpec
from whyrank.fields import NotNegative
from whyrank.registry import Part
from whyrank.types import Interactions
from whyrank.types.hashing import id_keys, mixed

Places = NDArray[np.int64]

Ties = Literal["shuffle", "file", "id", "reverse"]
Repeats = Literal["drop", "miss", "allow"]


class Split(NamedTuple):
    """A log cut in two: query q knows the events `starts[q]:cuts[q]` of `log` and is asked for the one at `targets[q]`.

    Attributes:
        log: all events, each user's in the order of the protocol.
        train: what may be learnt from.
        starts: (Q,) int64.
        cuts: (Q,) int64.
        targets: (Q,) int64, never before the cut.
        left_out: how many users or events brought no query, by the reason.
    """

    log: Interactions
    train: Interactions
    starts: Places
    cuts: Places
    targets: Places
    left_out: dict[str, int]

    def only(self, keep: NDArray[np.bool_], reason: str) -> "Split":
        """The split with these queries only; the others are counted under `reason`."""
        lost = int(np.count_nonzero(~keep))
        counts = {**self.left_out, **({reason: lost} if lost else {})}
        return self._replace(
            starts=self.starts[keep], cuts=self.cuts[keep], targets=self.targets[keep], left_out=counts
        )


@dataclass(frozen=True)
class Protocol(Part, ABC):
    """How a log becomes queries; figures of different protocols do not compare.

    Attributes:
        ties: the order of events of one user at the same time: "shuffle" by seed, "file" as in the source, "reverse"
            against it, "id" by the items' ids. Sources without times are in the order of the file.
        seed: of the shuffle, and of the sample of users.
        repeats: what becomes of a target that the user has had before. "drop" leaves the query out and "miss" counts
            it as missed, since items seen are never recommended; "allow" lets all be recommended again.
        core: leave out users and items with fewer events, until none is left that has (k-core); 0 keeps all.
        users: so many users only, the same first ones for every number (by hash); 0 takes all.
        pools: what is ranked: None the whole catalogue, else a pool for each query.
    """

    _: KW_ONLY
    ties: Ties = "shuffle"
    seed: int = 0
    repeats: Repeats = "drop"
    core: NotNegative = 0
    users: NotNegative = 0
    pools: Pools | None = None

    def split(self, log: Interactions, part: Literal["dev", "test"]) -> Split:
        """Cut `log`.

        Raises:
            BadInput: nothing is left to ask, or the source does not tell what the protocol needs.
        """
        kept = _core(log, self.core) if self.core else log
        ordered = kept.take(self._order(kept))
        found = self._cut(ordered, part)
        if self.users:
            found = found.only(self._chosen(found), "users not in the sample")
        if self.repeats == "drop":
            found = found.only(~repeated(found), "targets that the user has had before")
        if not len(found.targets):
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in found.left_out.items())
            raise BadInput(f"no queries are left by {self!r}: {reasons or 'there are no events'}")
        _refuse_leak(found)
        return found

    def id(self, source: str, timed: bool) -> str:
        """All that decides figures: source@hash | filter | split | ties | candidates | mask | repeats | users.

        Args:
            source: the name of the log and its hash.
            timed: whether it has times, without which there are no ties.
        """
        ties = {"shuffle": f"shuf{self.seed}", "file": "fileorder"}.get(self.ties, self.ties) if timed else "fileorder"
        sample = f"{self.users} of seed {self.seed}" if self.users else "all"
        return "|".join(
            (
                source,
                f"{self.core}core" if self.core else "none",
                self._name,
                ties,
                self.pools.id if self.pools else "full",
                "none" if self.repeats == "allow" else "mask",
                self.repeats,
                sample,
            )
        )

    @property
    @abstractmethod
    def _name(self) -> str:
        """The split in the id."""

    @abstractmethod
    def _cut(self, log: Interactions, part: Literal["dev", "test"]) -> Split:
        """Cut a log that is in order."""

    def _order(self, log: Interactions) -> NDArray[np.intp]:
        if log.times is None:
            return np.arange(len(log))
        order: NDArray[np.intp] = np.lexsort((self._among_ties(log), log.times, log.rows))
        return order

    def _among_ties(self, log: Interactions) -> NDArray[np.integer[Any]]:
        """(N,) what orders events of one user at the same time."""
        if self.ties == "shuffle":
            return mixed(self.seed, id_keys(log.users)[log.rows], id_keys(log.items)[log.codes])
        if self.ties == "id":
            return _by_id(log.items)[log.codes]
        place = np.arange(len(log))
        return -place if self.ties == "reverse" else place

    def _chosen(self, split: Split) -> NDArray[np.bool_]:
        asked = np.unique(split.log.rows[split.targets])
        keys = mixed(self.seed, id_keys([split.log.users[row] for row in asked.tolist()]))
        return np.isin(split.log.rows[split.targets], asked[np.argsort(keys, kind="stable")[: self.users]])


@dataclass(frozen=True)
class LeaveOneOut(Protocol):
    """The last event of each user is the test, the one before for validation, what is before both is learnt from.

    A user needs three events to be asked; what the others did is learnt from. When the test is asked, the validation
    event belongs to the history, but nothing was learnt from it.
    """

    @property
    def _name(self) -> str:
        return "loo"

    def _cut(self, log: Interactions, part: Literal["dev", "test"]) -> Split:
        sizes = np.diff(log.offsets)
        asked = sizes >= 3
        starts, targets = log.offsets[:-1][asked], log.offsets[1:][asked] - (1 if part == "test" else 2)
        learnt = np.ones(len(log), dtype=bool)
        for back in (1, 2):
            learnt[log.offsets[1:][asked] - back] = False
        short = int(np.count_nonzero(~asked & (sizes > 0)))
        return Split(
            log,
            log.take(np.flatnonzero(learnt)),
            starts,
            targets,
            targets,
            {"users with fewer than 3 events": short} if short else {},
        )


@dataclass(frozen=True)
class GlobalTime(Protocol):
    """Two points in time for all users: what is before the first is learnt from, what is after the second is the test.

    Attributes:
        dev: where validation begins: a time in the unit of the source, or up to 1 a share of all events.
        test: where the test begins, likewise.
        first: ask only for the first event of each user in the part.
        strict: a history ends where the part begins; otherwise it goes up to the event that is asked for.
    """

    dev: float = 0.8
    test: float = 0.9
    _: KW_ONLY
    first: bool = False
    strict: bool = False

    def __post_init__(self) -> None:
        """Refuse points that are not in order."""
        if not 0 < self.dev < self.test:
            raise BadSpec(f"global_time: {self.dev} for dev must lie above 0 and before {self.test} for test")

    @property
    def _name(self) -> str:
        return f"gts{'1' * self.first}{'-strict' * self.strict}[{self.dev:.15g},{self.test:.15g}]"

    def _cut(self, log: Interactions, part: Literal["dev", "test"]) -> Split:
        if log.times is None:
            raise BadInput("a split by time needs times, which this source does not have: use leave_one_out()")
        times = np.sort(log.times)
        dev, test = (times[int(at * (len(times) - 1))] if at <= 1 else at for at in (self.dev, self.test))
        low, high = (test, np.inf) if part == "test" else (dev, test)
        targets = np.flatnonzero((log.times >= low) & (log.times < high))
        rows = log.rows[targets]
        if self.first:
            _, at = np.unique(rows, return_index=True)
            targets, rows = targets[at], rows[at]
        starts = log.offsets[:-1][rows]
        before = np.concatenate([[0], np.cumsum(log.times < low)])
        cuts = starts + before[targets] - before[starts] if self.strict else targets
        found = Split(log, log.take(np.flatnonzero(log.times < dev)), starts, cuts, targets, {})
        return found.only(cuts > starts, "events of users without a history")


@dataclass(frozen=True)
class Given(Protocol):
    """The split that the source comes with, such as RecBole's `.train.inter`, `.valid.inter` and `.test.inter`."""

    @property
    def _name(self) -> str:
        return "given"

    def _order(self, log: Interactions) -> NDArray[np.intp]:
        order = super()._order(log)
        return order if log.parts is None else order[np.lexsort((log.parts[order], log.rows[order]))]

    def _cut(self, log: Interactions, part: Literal["dev", "test"]) -> Split:
        if log.parts is None:
            raise BadInput("this source comes without a split of its own: use leave_one_out() or global_time()")
        asked = 2 if part == "test" else 1
        targets = np.flatnonzero(log.parts == asked)
        starts = log.offsets[:-1][log.rows[targets]]
        before = np.concatenate([[0], np.cumsum(log.parts < asked)])
        cuts = starts + before[targets] - before[starts]
        found = Split(log, log.take(np.flatnonzero(log.parts == 0)), starts, cuts, targets, {})
        return found.only(cuts > starts, "events of users without a history")


def repeated(split: Split) -> NDArray[np.bool_]:
    """(Q,) whether the user had the target before the cut."""
    codes = split.log.codes
    return np.fromiter(
        (
            codes[target] in codes[start:cut]
            for start, cut, target in zip(split.starts, split.cuts, split.targets, strict=True)
        ),
        dtype=bool,
        count=len(split.targets),
    )


def _refuse_leak(split: Split) -> None:
    """Refuse a split in which an event that is asked for is learnt from, too, or history reaches beyond its target."""
    log, train = split.log, split.train
    size = len(log.items)
    learnt, asked = train.rows.astype(np.int64) * size + train.codes, log.rows.astype(np.int64) * size + log.codes
    for at in split.targets[np.isin(asked[split.targets], learnt)].tolist():
        same = np.flatnonzero(learnt == asked[at])
        if log.times is None or train.times is None:
            leaks = log.parts is not None
        else:
            leaks = bool((train.times[same] == log.times[at]).any())
        if leaks:
            raise BadInput(
                f"the split leaks: user {log.users[log.rows[at]]!r} is asked for item {log.items[log.codes[at]]!r}, "
                "and the same event is learnt from: take it out of the training part"
            )


def _core(log: Interactions, least: int) -> Interactions:
    keep = np.ones(len(log), dtype=bool)
    while True:
        users = np.bincount(log.rows[keep], minlength=len(log.users))
        items = np.bincount(log.codes[keep], minlength=len(log.items))
        few = keep & ((users[log.rows] < least) | (items[log.codes] < least))
        if not few.any():
            break
        keep &= ~few
    thinned = log.take(np.flatnonzero(keep))
    held, codes = np.unique(thinned.codes, return_inverse=True)
    return replace(thinned, items=[log.items[code] for code in held.tolist()], codes=codes.astype(np.int32))


def _by_id(items: Sequence[str]) -> NDArray[np.int64]:
    """The place of each item in the order of ids; whole numbers are in the order of their values."""

    def key(at: int) -> tuple[int, str]:
        return (int(items[at]) if items[at].isdecimal() else -1, items[at])

    places = np.empty(len(items), dtype=np.int64)
    places[sorted(range(len(items)), key=key)] = np.arange(len(items))
    return places
