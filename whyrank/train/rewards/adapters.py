"""Rewards in the forms that trainers call: TRL's `f(prompts, completions, **columns)`, verl's `compute_score(…)`.

Both take the task from the data, as the line of JSON that `whyrank.io` writes, and give the same rewards. Neither
catches anything: a reward that raises stops the training. Instances are as picklable as the reward.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from whyrank.errors import BadInput
from whyrank.io.tasks import task_from
from whyrank.llm.answer import Ok
from whyrank.train.rewards.base import (
    AnyReward,
    Given,
    Reward,
    Value,
    completion_of,
    groups,
    label,
    same_prompt,
    values_of,
)
from whyrank.types import RankTask, Usage


@dataclass(frozen=True)
class ForTRL:
    """A reward as TRL's `GRPOTrainer` takes it (1.x): give it among `reward_funcs`.

    Attributes:
        reward: a reward, or a plain function of text and task.
        column: the column of the data set that holds the tasks: `RankTask`s, their records or lines of JSON. A line is
            safest: `datasets` gives records with different keys all keys of all.
        generations: completions per prompt. A reward that sees the group needs whole groups on each process; if this is
            set, a group that is not whole is an error.
        limit: the trainer's `max_completion_length`: a completion of so many tokens was cut off, which parsers want to
            know; TRL does not tell it.
    """

    reward: AnyReward
    column: str = "task"
    generations: int | None = None
    limit: int | None = None

    @property
    def __name__(self) -> str:
        """What TRL's logs call it."""
        return label(self.reward)

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Given],
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: object,
    ) -> list[Value]:
        """A reward for each completion, None where it does not apply; `columns` are all that TRL hands over.

        Raises:
            BadInput: there is no column with tasks, a task cannot be read, or a group is not whole.
        """
        rows = columns.get(self.column)
        if not isinstance(rows, Sequence):
            raise BadInput(f"the data set has no column {self.column!r} with the tasks, only {', '.join(columns)}")
        tasks = [task_of(one) for one in rows]
        given = [completion_of(one) for one in completions]
        if completion_ids is not None:
            given = [self._measured(one, len(ids)) for one, ids in zip(given, completion_ids, strict=True)]
        if self.generations is not None:
            self._whole(tasks)
        return values_of(self.reward, given, tasks)

    def _measured(self, completion: Ok, tokens: int) -> Ok:
        cut = self.limit is not None and tokens >= self.limit
        return replace(completion, usage=Usage(output=tokens), finish="length" if cut else completion.finish)

    def _whole(self, tasks: Sequence[RankTask]) -> None:
        for key, members in groups(tasks, same_prompt).items():
            if len(members) % (self.generations or 1):
                raise BadInput(
                    f"{len(members)} completions of query {key[0]!r} are here, not {self.generations}: make "
                    "per_device_train_batch_size × steps_per_generation a multiple of num_generations"
                )


@dataclass(frozen=True)
class ForVerl:
    """A reward as verl calls it: `compute_score = ForVerl(MultiView())`, with the task's JSON as `ground_truth`.

    A reward that sees the group needs verl's batch reward manager: `compute_score = ForVerl(RetroStar()).batch`.
    verl knows no None: where a reward does not apply it is 0, as TRL too counts it in its sum.

    Attributes:
        reward: a reward, or a plain function of text and task.
        count: counts the tokens of a text, for rewards that need their number.
    """

    reward: AnyReward
    count: Callable[[str], int] | None = None

    def __call__(
        self,
        data_source: str,
        solution_str: str,
        ground_truth: str | Mapping[str, Any] | RankTask,
        extra_info: Mapping[str, Any] | None = None,
        **rest: object,
    ) -> float:
        """The reward of one completion; `rest` is what versions of verl add.

        Raises:
            BadInput: the task cannot be read, or the reward sees the group.
        """
        if isinstance(self.reward, Reward) and self.reward.grouped:
            raise BadInput(
                f"{label(self.reward)} sees the group: use ForVerl(…).batch with verl's batch reward manager"
            )
        return self.batch([data_source], [solution_str], [ground_truth], [extra_info])[0]

    def batch(
        self,
        data_sources: Sequence[str],
        solution_strs: Sequence[str],
        ground_truths: Sequence[str | Mapping[str, Any] | RankTask],
        extra_infos: Sequence[Mapping[str, Any] | None] | None = None,
        **rest: object,
    ) -> list[float]:
        """The rewards of many completions, as verl's batch reward manager asks for them."""
        tasks = [task_of(one) for one in ground_truths]
        given = [completion_of(text) for text in solution_strs]
        if self.count is not None:
            given = [replace(one, usage=Usage(output=self.count(one.text))) for one in given]
        return [value or 0.0 for value in values_of(self.reward, given, tasks)]


def task_of(given: str | Mapping[str, Any] | RankTask) -> RankTask:
    """The task that a row of training data carries.

    Raises:
        BadInput: it is no task: what is missing or wrong.
    """
    if isinstance(given, RankTask):
        return given
    return _read(given) if isinstance(given, str) else task_from(given)


@lru_cache(maxsize=4096)
def _read(line: str) -> RankTask:
    """Each task is read once for all completions of its group."""
    try:
        given = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"a task is a line of JSON, not {line!r:.60}: {error}") from None
    return task_from(given)
