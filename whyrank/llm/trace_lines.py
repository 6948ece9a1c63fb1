"""How a model call stands in a trace file: one line of JSON, written and read here and nowhere else."""

import json
import math
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby, islice, repeat
from pathlib import Path
from typing import Any, TypeVar

from whyrank.errors import BadInput
from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.digest import LARGEST, most_places, sound
from whyrank.llm.ledger import Call
from whyrank.llm.messages import Prompt
from whyrank.types import Usage

T = TypeVar("T")


def records(path: str | Path) -> Iterator[dict[str, Any]]:
    """The calls in a trace file, as written: key, query, step, status, text, reasoning, usage, messages and so on.

    Reading takes no lock; a last line that is still being written is left out.

    Raises:
        BadInput: a line is damaged: file and line.
    """
    return (record for _, record, _ in read(Path(path)))


def read(path: Path) -> Iterator[tuple[int, dict[str, Any], Call]]:
    """Where each line ends in the file, its record, and the call of that; a torn last line is left out."""
    end = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
                call, _ = _to_call(record), asked(record)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                if not line.endswith(b"\n"):
                    return
                raise BadInput(
                    f"{path}:{number}: this line of the trace is damaged ({type(error).__name__}: {error}); "
                    "delete the line to ask its call again"
                ) from None
            end += len(line)
            yield end, record, call


def to_record(call: Call, prompt: Prompt, lean: bool = False) -> dict[str, Any]:
    """The line of a finished call; a lean one has the number of the prompt's characters in place of its messages."""
    shown = {"asked": characters(prompt)} if lean else {"messages": prompt.chat}
    asked = {"sampling": asdict(prompt.sampling), "sample": prompt.sample, **shown}
    return _head(call) | _outcome(call.completion) | _tail(call) | asked


def aside_record(call: Call, why: Failed) -> dict[str, Any]:
    """The line that takes the answer to a call back."""
    return _head(call) | _outcome(why) | _tail(call) | {"aside": True}


def characters(prompt: Prompt) -> int:
    """How long a prompt is."""
    return sum(len(piece.text) for message in prompt.messages for piece in message.pieces)


def asked(record: Mapping[str, Any]) -> int:
    """The characters of the prompt of a recorded call."""
    if "asked" in record:
        return _of(int, record["asked"], "asked")
    return sum(len(message["content"]) for message in record.get("messages", ()))


def _head(call: Call) -> dict[str, Any]:
    return {"key": call.key, "model": call.model, "query": call.query, "step": call.step}


def _outcome(came: Completion) -> dict[str, Any]:
    if isinstance(came, Failed):
        return {"status": "failed", "kind": came.kind, "detail": came.detail}
    answer: dict[str, Any] = {"text": came.text, "reasoning": came.reasoning}
    answer |= {"finish": came.finish, "usage": asdict(came.usage)}
    if came.values:
        answer["values"] = [value if math.isfinite(value) else str(value) for value in came.values]
    return {"status": "ok"} | answer | {"logprobs": _packed(came.logprobs)}


def _tail(call: Call) -> dict[str, Any]:
    return {"retries": call.retries, "seconds": round(call.seconds, 3), "cut": call.cut}


def _to_call(record: dict[str, Any]) -> Call:
    """The call that a line tells of; an answer that cannot be used (`sound`) counts as failed, and is asked again."""
    completion: Completion
    if record["status"] == "failed":
        completion = Failed(record["kind"], record["detail"])
    else:
        usage, most = Usage(**record["usage"]), most_places(str(record["text"]), str(record["reasoning"]))
        logprobs = tuple(islice(_unpacked(record["logprobs"]), most + 1))
        values = tuple(map(float, record.get("values", ())))
        completion = Ok(record["text"], record["reasoning"], usage, record["finish"], logprobs, values=values)
    texts = [_of(str, record[name], name) for name in ("key", "model", "query")]
    seconds, cut = float(record["seconds"]), tuple(_of(str, one, "cut") for one in record["cut"])
    numbers = _of(int, record["retries"], "retries"), seconds
    key, model, query = texts
    return Call(key, model, query, _of(int, record["step"], "step"), sound(completion), *numbers, cut)


def _of(kind: type[T], value: object, name: str) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {value!r:.40}")
    return value


def _packed(places: Sequence[dict[str, float]]) -> list[Any]:
    """Log probabilities as JSON: empty places in a row as their number, minus infinity as null."""
    packed: list[Any] = []
    for empty, some in groupby(places, key=operator.not_):
        run = list(some)
        packed += [len(run)] if empty else [dict(map(_finite, place.items())) for place in run]
    return packed


def _finite(entry: tuple[str, float]) -> tuple[str, float | None]:
    return entry[0], None if entry[1] == -math.inf else entry[1]


def _unpacked(packed: Iterable[Any]) -> Iterator[dict[str, float]]:
    for one in packed:
        if isinstance(one, int):
            yield from repeat({}, min(one, LARGEST))
        else:
            yield {token: -math.inf if chance is None else chance for token, chance in one.items()}
