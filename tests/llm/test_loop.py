import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from whyrank.llm.loop import run
from whyrank.llm.trace import records

SCRIPT = """
import asyncio, sys
from whyrank.llm.messages import Message, Piece, Prompt
from whyrank.llm.fake import Fake
from whyrank.llm.schedule import drive
from whyrank.llm.trace import Trace

def plan(name):
    yield [Prompt((Message("user", (Piece(name),)),))]

async def inside():
    work()

def work():
    quick = Fake(lambda prompt: "yes", latency=0.001)
    slow = Fake(lambda prompt: "yes", latency=100.0)
    with Trace(sys.argv[1]) as trace:
        drive({"a": plan("a")}, quick, trace)
        print("begun", flush=True)
        drive({"b": plan("b")}, slow, trace)

if sys.argv[2] == "plain":
    work()
else:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(inside())
"""


async def _add(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


async def _fail() -> None:
    raise KeyError("lost")


def test_it_runs_from_anywhere_and_hands_errors_on() -> None:
    async def inside() -> int:
        with pytest.raises(KeyError, match="lost"):
            run(_fail())
        return run(_add(1, 2))

    assert run(_add(1, 2)) == 3 == asyncio.run(inside())
    with pytest.raises(KeyError, match="lost"):
        run(_fail())


@pytest.mark.parametrize("where", ["plain", "inside a loop"])
def test_an_interrupt_ends_the_run_soon_and_the_trace_is_whole(tmp_path: Path, where: str) -> None:
    trace = tmp_path / "trace.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(trace), where], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode != 0 and "KeyboardInterrupt" in errors
    assert [line["query"] for line in records(trace)] == ["a"]
