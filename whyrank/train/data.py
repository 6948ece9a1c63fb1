"""What is learnt from: examples as token ids, and the order in which training sees them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from whyrank.errors import BadInput
from whyrank.io import lines, read_tasks
from whyrank.io.records import from_json
from whyrank.llm.answer import Ok
from whyrank.llm.ask import Question
from whyrank.llm.chat import Chat, opens
from whyrank.llm.messages import Prompt
from whyrank.registry import make
from whyrank.rerank.formats import Choice, Ends, Format, Permutation, PointFormat
from whyrank.rerank.formats.question import question
from whyrank.train.config import LessonSource, Stage
from whyrank.train.lists import by_order
from whyrank.types import RankTask

Tokens = npt.NDArray[np.int32]


class Lesson(NamedTuple):
    """An example as token ids, prompt and completion, and how many of them are the prompt's."""

    ids: Tokens
    asked: int


@dataclass
class Material:
    """The examples of all sources, and what became of what was read.

    Attributes:
        lessons: all examples, source after source.
        sources: where each source's examples lie in `lessons`.
        counts: by file and format, the outcomes: "used", "too_long", "nothing_relevant".
    """

    lessons: list[Lesson] = field(default_factory=list)
    sources: dict[LessonSource, range] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    @classmethod
    def read(cls, sources: Iterable[LessonSource], chat: Chat, max_length: int) -> "Material":
        """Read and encode each source once.

        Raises:
            BadInput: a line cannot be read, or a source holds nothing that can be used.
            NotFound: no such file.
        """
        material = cls()
        for source in dict.fromkeys(map(_bare, sources)):
            counts: Counter[str] = Counter()
            begin = len(material.lessons)
            material.lessons += _lessons(source, chat, max_length, counts)
            material.sources[source] = range(begin, len(material.lessons))
            named = f"{source.path} {source.format}".strip()
            material.counts[named] = added(material.counts.get(named, {}), counts)
            if not counts["used"]:
                raise BadInput(f"{named}: nothing in it can be learnt from: {dict(counts) or 'it is empty'}")
        return material

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """(lessons,) tokens of each."""
        return np.array([len(lesson.ids) for lesson in self.lessons])


def added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """Two counts of outcomes as one.

    Examples:
        >>> added({"used": 2}, {"used": 3, "too_long": 1})
        {'used': 5, 'too_long': 1}
    """
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


def plan(material: Material, stages: Sequence[Stage], batch: int, seed: int, window: int = 16) -> list[int]:
    """Which lesson comes when, for all steps of all stages: a list of steps · batch places in `material.lessons`.

    Within a stage sources are drawn by weight, and each goes through its lessons in a new shuffled order, again and
    again. Lessons of like length share a step, so that little is spent on padding: `window` steps are sorted by length,
    cut into steps, and these shuffled. How a step is cut into forward passes and devices changes nothing.
    """
    lengths, order = material.lengths, np.empty(0, dtype=np.int64)
    for number, stage in enumerate(stages):
        lot = np.random.default_rng([seed, number])
        drawn = _draw(material, stage, batch, lot)
        steps = [
            step
            for some in np.array_split(drawn, range(window * batch, len(drawn), window * batch))
            for step in lot.permutation(some[np.argsort(lengths[some], kind="stable")].reshape(-1, batch))
        ]
        order = np.concatenate([order, *steps])
    return [int(at) for at in order]


def _draw(material: Material, stage: Stage, batch: int, lot: np.random.Generator) -> npt.NDArray[np.int64]:
    pools = [np.array(material.sources[_bare(source)]) for source in stage.sources]
    everything = np.concatenate(pools)
    steps = stage.steps or max(1, -(-round(stage.epochs * len(everything)) // batch))
    if stage.sources[0].weight is None:
        return _cycle(everything, steps * batch, lot)
    weights = np.array([source.weight for source in stage.sources], dtype=float)
    whence = lot.choice(len(pools), steps * batch, p=weights / weights.sum())
    drawn = np.empty(steps * batch, dtype=np.int64)
    for at, pool in enumerate(pools):
        drawn[whence == at] = _cycle(pool, int((whence == at).sum()), lot)
    return drawn


def _cycle(pool: npt.NDArray[np.int64], n: int, lot: np.random.Generator) -> npt.NDArray[np.int64]:
    rounds = [lot.permutation(pool) for _ in range(-(-n // len(pool)))]
    cycled: npt.NDArray[np.int64] = np.concatenate([pool[:0], *rounds])[:n]
    return cycled


def _bare(source: LessonSource) -> LessonSource:
    return replace(source, weight=None)  # a source that several stages draw from is read once


def questions(format: Format[Any], task: RankTask, chat: Chat, max_passage_tokens: int = 512) -> list[Question[Any]]:
    """What inference asks about the documents of a task as shown: one question, or one a document for point formats."""
    groups = [[one] for one in task.documents] if isinstance(format, PointFormat) else [task.documents]
    return [question(format, task.query.text, group, chat, max_passage_tokens) for group in groups]


def prompts(format: Format[Any], task: RankTask, chat: Chat, max_passage_tokens: int = 512) -> list[Prompt]:
    """The prompts of these questions."""
    return [one.prompt for one in questions(format, task, chat, max_passage_tokens)]


def written(completion: Ok, opened: bool = False) -> str:
    """The words of a completion, thought and answer; `opened` says that the chat template has opened the thought."""
    thinks = f"<think>{completion.reasoning}</think>\n" if completion.reasoning else ""
    text = thinks + completion.text
    if not opened:
        return text
    return text.removeprefix("<think>") if text.startswith("<think>") else f"</think>\n{text}"


def _lessons(source: LessonSource, chat: Chat, max_length: int, counts: Counter[str]) -> Iterator[Lesson]:
    pairs = _ranked(source, chat, counts) if source.format else _told(source)
    if not chat.closing:
        raise BadInput(
            "the template closes no turn with a special token, and the tokenizer has no eos_token: a model could not "
            "learn where a completion ends"
        )
    while some := list(islice(pairs, 512)):
        asked = [chat.render(prompt) for prompt, _ in some]
        told = [written(ok, opens(text)) for (_, ok), text in zip(some, asked, strict=True)]
        ids = chat.tokenizer([_clean(text) for text in asked + told], add_special_tokens=False, verbose=False)[
            "input_ids"
        ]
        for before, after in zip(ids[: len(some)], ids[len(some) :], strict=True):
            if len(before) + len(after) + len(chat.closing) > max_length:
                counts["too_long"] += 1
                continue
            counts["used"] += 1
            yield Lesson(np.array([*before, *after, *chat.closing], dtype=np.int32), len(before))


def _clean(text: str) -> str:
    return text.encode(errors="replace").decode()


Pair = tuple[list[dict[str, str]], Ok]


def _ranked(source: LessonSource, chat: Chat, counts: Counter[str]) -> Iterator[Pair]:
    """Chats and right answers of RankTasks."""
    format: Format[Any] = make(source.format, Format)
    tasks = list(islice(read_tasks(source.path), source.limit or None))
    top = max((grade for task in tasks if "scale" not in task.source for grade in task.grades.values()), default=1.0)
    for task in tasks:
        if not (task.relevant or task.order or source.keep_irrelevant):
            counts["nothing_relevant"] += 1
            continue
        values = utilities(task, format, top)
        asked = prompts(format, task, chat, source.max_passage_tokens)
        groups = [[value] for value in values] if len(asked) > 1 or isinstance(format, PointFormat) else [values]
        for prompt, group in zip(asked, groups, strict=True):
            # a thought is of the list, not of each document
            yield prompt.chat, format.write(group, task.thought if len(groups) == 1 else "")


def utilities(task: RankTask, format: Format[Any], top: float) -> list[float]:
    """(n,) how much each document helps, from 0 to 1: by the teacher's order if the format orders, else by grade.

    Args:
        task: the list.
        format: formats that order or choose take the order of a teacher where there is one.
        top: the highest grade of all lists; a list whose source has a `scale` is graded up to that instead.

    Raises:
        BadInput: the scale is no number above 0.
    """
    relative = isinstance(format.nothing(len(task.documents)), Permutation | Choice | Ends)
    if task.order and (relative or not task.grades):
        return list(by_order(task))
    scale = task.source.get("scale", max(top, 1e-9))
    if not isinstance(scale, int | float) or scale <= 0:
        raise BadInput(f"task {task.query.id!r}: the 'scale' of its source is the highest grade, not {scale!r}")
    return [gain / scale for gain in task.gains]


def _told(source: LessonSource) -> Iterator[Pair]:
    """Chats and completions as they stand in a file."""
    for number, line in islice(lines(source.path), source.limit or None):
        where = f"{source.path}:{number}"
        try:
            given = from_json(line, source.path, number)
            yield _chat(given["prompt"], "user"), _completion(given["completion"])
        except KeyError as error:
            raise BadInput(f"{where}: the key {error.args[0]!r} is missing; RankTasks need a 'format'") from None
        except (TypeError, AttributeError) as error:
            raise BadInput(f"{where}: no example: {error}") from None


def _chat(given: Any, role: str) -> list[dict[str, str]]:
    if isinstance(given, str):
        return [{"role": role, "content": given}]
    if not isinstance(given, list) or not given:
        raise TypeError("a text, or a list of {'role', 'content'}, is wanted")
    return [{"role": str(turn["role"]), "content": str(turn["content"])} for turn in given]


def _completion(given: Any) -> Ok:
    if isinstance(given, list) and len(given) != 1:
        raise TypeError(f"a completion is one turn of the assistant, not {len(given)}")
    thought = str(given[0].get("reasoning_content") or "") if isinstance(given, list) else ""
    return Ok(_chat(given, "assistant")[0]["content"], thought)
