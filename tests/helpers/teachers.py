"""Teachers that know the truth: they answer in whatever format they are asked in, by `Format.write`."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from whyrank.data_synth.world import LEVELS, World
from whyrank.data_synth.world_lists import WorldLists
from whyrank.llm.answer import Completion
from whyrank.llm.fake import Answer, Fake
from whyrank.llm.messages import Prompt
from whyrank.rerank.formats import Format, GroupScoresFormat, RankingFormat, Rubric, clean
from whyrank.types import RankTask, Usage

FORMATS: tuple[Format[Any], ...] = (
    RankingFormat(),
    RankingFormat(think="no"),
    GroupScoresFormat(),
    Rubric(),
    Rubric(think="no"),
)
LISTS = WorldLists(World(), LEVELS["base"])
Utilities = Callable[[str, Sequence[str], Prompt], Sequence[float]]


@dataclass(frozen=True)
class Scripted(Fake):
    """A fake whose function is no part of its spec: one is told from another by its model."""

    answer: Answer = field(default="", repr=False)
    model: str = "scripted"


def shown(prompt: Prompt) -> tuple[str, list[str]]:
    """The query and the passages of a prompt."""
    pieces = [piece for message in prompt.messages for piece in message.pieces]
    (query,) = [piece.text for piece in pieces if piece.cut == "query"]
    return query, [piece.text for piece in pieces if piece.cut == "document"]


def teacher(utilities: Utilities, thought: str = "so it is", **settings: Any) -> Scripted:
    """A model that finds each passage as useful as `utilities(query, passages, prompt)` says."""

    def answer(prompt: Prompt) -> Completion:
        query, passages = shown(prompt)
        turns = [message for message in prompt.messages if message.role != "assistant"]
        for format in FORMATS:
            try:
                asked = format.render(query, passages, prompt.sampling)
            except ValueError:  # a format of one passage
                continue
            if [turn.content for turn in asked.messages] == [turn.content for turn in turns]:
                written = replace(format.write(utilities(query, passages, prompt), thought), usage=Usage(100, 20))
                return (
                    replace(written, text=written.text.rpartition("</think>")[2].strip()) if prompt.prefill else written
                )
        raise AssertionError(f"no format asks so: {prompt.chat}")

    return Scripted(answer, **settings)


def truth(tasks: Sequence[RankTask], top: float = 2.0) -> Utilities:
    """The true grades of the tasks, as shares of the highest."""
    grades = {
        (task.query.text.strip(), clean(one.content)): task.grades.get(one.id, 0) / top
        for task in tasks
        for one in task.documents
    }
    return lambda query, passages, _: [grades[query.split("\n\nThe right answer")[0], one] for one in passages]


def noisy(known: Utilities, sigma: float) -> Utilities:
    """The same with Gaussian noise, fresh for each prompt and draw."""

    def blurred(query: str, passages: Sequence[str], prompt: Prompt) -> Sequence[float]:
        draw = random.Random(prompt.key("noise"))
        return [one + draw.gauss(0, sigma) for one in known(query, passages, prompt)]

    return blurred
