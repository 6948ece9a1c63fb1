"""What trainings of models that score have in common: the lists of all steps, the loss, what is held out."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np

from whyrank.errors import BadInput
from whyrank.eval import evaluate
from whyrank.progress import Advance
from whyrank.train import losses
from whyrank.train import trainer as base
from whyrank.train.config import Loop
from whyrank.train.data import added
from whyrank.train.held_out import grades
from whyrank.train.lists import DrawnList, RankedLists, drawn, read, teaches
from whyrank.train.monitor import Monitor, last_held_out, metrics
from whyrank.types import RankTask, Run

Loss = Literal["listnet", "listmle", "ranknet", "lambdarank", "plackett_luce"]


class Scoring(Protocol):
    """A configuration of such a training."""

    @property
    def lists(self) -> tuple[RankedLists, ...]:
        """What to learn from."""

    @property
    def held_out(self) -> RankedLists | None:
        """What is never learnt from."""

    @property
    def hold_out(self) -> int:
        """How many of the lists are held out."""

    @property
    def size(self) -> int:
        """Documents of each list in a step."""

    @property
    def epochs(self) -> int:
        """How often each list is seen."""

    @property
    def loss(self) -> Loss:
        """Of whyrank.train.losses."""

    @property
    def samples(self) -> int:
        """Rankings drawn for each list."""

    @property
    def k(self) -> int:
        """The cut-off of nDCG."""

    @property
    def every(self) -> int:
        """Steps between measurements."""

    @property
    def loop(self) -> Loop:
        """How steps are made; the batch is of lists."""

    @property
    def seed(self) -> int:
        """Of everything that is drawn."""


def refuse_both(config: Scoring) -> None:
    """Refuse held-out lists of two kinds."""
    if config.held_out and config.hold_out:
        raise BadInput("give either 'held_out' lists, or how many to 'hold_out' of those to learn from")


def material(config: Scoring) -> tuple[list[DrawnList], dict[str, dict[str, int]], list[RankTask]]:
    """The short lists of all steps, what became of each source, and the lists to measure by.

    Raises:
        BadInput: lists cannot be read, or nothing can be learnt from them or measured by.
        NotFound: no such file.
    """
    read_in = [read(one) for one in config.lists]
    read_before = [len(tasks) for tasks in read_in]
    held = read(config.held_out) if config.held_out else []
    if config.hold_out:
        places = [(source, at) for source, tasks in enumerate(read_in) for at in range(len(tasks))]
        if config.hold_out >= len(places):
            raise BadInput(f"'hold_out' is {config.hold_out} of {len(places)} lists: nothing is left to learn from")
        out = {places[at] for at in np.random.default_rng(config.seed).permutation(len(places))[: config.hold_out]}
        held = [read_in[source][at] for source, at in sorted(out)]
        asked = {task.query for task in held}
        read_in = [[task for task in tasks if task.query not in asked] for tasks in read_in]
    measurable = [task for task in held if task.relevant]
    if held and not measurable:
        raise BadInput(f"none of the {len(held)} held-out lists has a relevant document to measure by")
    counts: dict[str, dict[str, int]] = {}
    for lists, tasks, before in zip(config.lists, read_in, read_before, strict=True):
        counts[lists.name] = added(counts.get(lists.name, {}), _counts(tasks, before - len(tasks)))
    rows = drawn([task for tasks in read_in for task in tasks], config.size, config.epochs, config.seed)
    if not rows:
        raise BadInput(f"nothing can be learnt from these lists: {counts}")
    return rows, counts, measurable


def _counts(tasks: Sequence[RankTask], kept_out: int) -> dict[str, int]:
    """What became of the lists of a source; `kept_out` of them are held out, or are of a query that is."""
    used = sum(map(teaches, tasks))
    return {"used": used, "nothing_to_learn": len(tasks) - used} | ({"held_out": kept_out} if kept_out else {})


def whole_steps(rows: Sequence[DrawnList], loop: Loop) -> tuple[list[DrawnList], int]:
    """The lists of whole steps, the first once more behind the last where they are too few; and how many steps."""
    size = loop.batch * loop.accumulation * base.devices()
    steps = -(-len(rows) // size)
    return [rows[at % len(rows)] for at in range(steps * size)], steps


def taught(
    trainer: Any,
    folder: base.TrainingFolder,
    config: Scoring,
    measure: Callable[[], Mapping[str, float]] | None,
    advance: Advance,
) -> tuple[float, dict[str, float]]:
    """Train, measure on what is held out where there is any; the seconds, and what was measured last."""
    watch = Monitor(folder.path, config.every if measure else 0, measure, advance)
    base.attach(trainer, watch, folder.path, config.loop)
    seconds = base.run(trainer, folder)
    return seconds, last_held_out(metrics(folder.path))


def loss_of(config: Scoring) -> Callable[..., Any]:
    """The loss of (lists, n) scores, gains and mask."""
    options: dict[Loss, dict[str, int]] = {
        "lambdarank": {"k": config.k}, "plackett_luce": {"k": config.k, "samples": config.samples},
    }  # fmt: skip
    return partial(getattr(losses, config.loss), **options.get(config.loss, {}))


def padded(torch: Any, scores: Sequence[Any], gains: Sequence[Any]) -> tuple[Any, Any, Any]:
    """(lists, n) scores, gains and mask of lists of several lengths."""
    pad = partial(torch.nn.utils.rnn.pad_sequence, batch_first=True)
    mask = pad([torch.ones_like(one, dtype=torch.bool) for one in scores])
    return pad(list(scores)), pad([torch.as_tensor(one).to(scores[0]) for one in gains]), mask


def measured(
    score: Callable[[list[tuple[str, str]]], Any], tasks: Sequence[RankTask], measure: str = "nDCG@10"
) -> dict[str, float]:
    """How well a model ranks the documents of the tasks, equal scores in the order shown; also the measure as shown.

    Args:
        score: gives pairs of query and document a score each.
        tasks: the lists.
        measure: of the ranking.
    """
    pairs = [(task.query.text, document.content) for task in tasks for document in task.documents]
    parts = np.split(np.asarray(score(pairs)), np.cumsum([len(task.documents) for task in tasks])[:-1])
    shown, ranked, known = {}, {}, {}
    for number, (task, part) in enumerate(zip(tasks, parts, strict=True)):
        ids = [document.id for document in task.documents]
        shown[str(number)] = ids
        ranked[str(number)] = [ids[at] for at in np.argsort(-part, kind="stable")]
        known[str(number)] = grades(task)
    value, start = (next(iter(evaluate(Run.of(one), known, [measure]).means.values())) for one in (ranked, shown))
    return {measure: value, f"{measure} as shown": start}
