"""A model in this process through vLLM's asynchronous engine: the fast one."""

import asyncio
import atexit
import itertools
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from whyrank.errors import EngineError, need
from whyrank.llm.base import Completion, Failed, Prompt
from whyrank.llm.local import Asked, Local, shared

_SETTINGS = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "PYTHONWARNINGS": "ignore",
}
"""Environment variables that vLLM is started with, where the user has not set them: quiet, private, small on a CPU."""


@dataclass(frozen=True)
class VLLM(Local):
    """A model run by vLLM, which batches all requests under way as they come and go, so that chains run free.

    The engine starts with the first call (half a minute and more), in processes of its own; it ends with the last part
    that uses it, or with the program. A script that is run as such needs the guard `if __name__ == "__main__":`, since
    these processes import it again. On a CPU the cache has VLLM_CPU_KVCACHE_SPACE GiB, 1 if that is not set.

    Attributes:
        concurrency: how many requests may be under way at once.
        gpu_memory: share of each GPU's memory that weights and cache may take.
        gpus: how many GPUs the model is spread over (tensor parallelism).

    Raises:
        MissingExtra: vllm is not installed.
        EngineError: the engine cannot be started.
    """

    extra: ClassVar[str] = "vllm"

    concurrency: int = 256
    gpu_memory: float = 0.9
    gpus: int = 1

    async def _generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
        return await asyncio.gather(*map(self._one, prompts))

    async def _one(self, prompt: Prompt) -> Completion:
        asked = self.read(prompt)
        return asked if isinstance(asked, Failed) else await self._engine.ask(self, asked, prompt)

    @cached_property
    def _engine(self) -> "_Engine":
        return shared(self, lambda: _Engine(self))

    def engine(self) -> Any:  # noqa: ANN401 (an optional package)
        """Start vLLM's engine, an `AsyncLLM`; to be called inside the event loop that it will live in."""
        with _environment():
            vllm = need("vllm", extra="vllm", asked_by="vllm(...)")
            cpu = need("vllm.platforms", extra="vllm").current_platform.is_cpu()
            options = vllm.AsyncEngineArgs(
                model=self.model,
                max_model_len=self.window,
                dtype="float32" if cpu and self.dtype == "auto" else self.dtype,
                gpu_memory_utilization=self.gpu_memory,
                tensor_parallel_size=self.gpus,
                max_num_seqs=self.concurrency,
                enforce_eager=cpu,
                disable_log_stats=True,
                use_tqdm_on_load=False,
            )
            try:
                return need("vllm.v1.engine.async_llm", extra="vllm").AsyncLLM.from_engine_args(options)
            except (ValueError, OSError, RuntimeError) as error:
                raise EngineError(f"{self!r} cannot be started, vLLM's own messages above say more: {error}") from error


class _Engine:
    """vLLM's engine in a thread with an event loop of its own, so that it outlives the loops that ask it."""

    def __init__(self, part: VLLM) -> None:
        self._loop, self._numbers = asyncio.new_event_loop(), itertools.count()
        self._llm: list[Any] = []  # the engine once it has started, taken out again where it is closed
        thread = threading.Thread(target=_live, args=(self._loop,), name=f"vllm {part.model}", daemon=True)
        thread.start()
        close = weakref.finalize(self, _close, self._llm, self._loop, thread)
        self._started = asyncio.run_coroutine_threadsafe(_start(part, self._llm, close), self._loop)

    async def ask(self, part: VLLM, asked: Asked, prompt: Prompt) -> Completion:
        """The completion of one prompt; a caller that is cancelled cancels the request."""
        await asyncio.shield(asyncio.wrap_future(self._started))
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._ask(part, asked, prompt), self._loop))

    async def _ask(self, part: VLLM, asked: Asked, prompt: Prompt) -> Completion:
        errors = need("vllm.v1.engine.exceptions", extra="vllm")
        refusal = getattr(need("vllm.exceptions", extra="vllm"), "VLLMClientError", ValueError)
        try:
            number, tokens = str(next(self._numbers)), {"prompt_token_ids": asked.ids}
            async for result in self._llm[0].generate(tokens, _params(asked, prompt), number):
                written = result.outputs[0]
        except (errors.EngineDeadError, errors.EngineGenerateError) as error:
            return Failed("server", f"vLLM's engine failed: {error}")
        except (ValueError, refusal) as error:
            return Failed("bad_request", str(error))
        if written.finish_reason not in {"stop", "length"}:
            return Failed("server", f"vLLM ended the request with {written.finish_reason!r}")
        logprobs = _logprobs(written.logprobs, prompt.sampling.logprobs)
        cached = result.num_cached_tokens or 0
        return part.chat.ok(asked, written.token_ids, written.text, written.finish_reason, logprobs, cached)


def _live(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


async def _start(part: VLLM, started: list[Any], close: Callable[[], object]) -> None:
    started.append(part.engine())
    atexit.register(close)  # so late that it runs before multiprocessing, at exit, ends the engine's processes by force


def _close(started: list[Any], loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    """End the engine's processes and its thread; also at the exit of the program, before modules are torn down."""
    asyncio.run_coroutine_threadsafe(_end(started), loop)
    if thread is not threading.current_thread():
        thread.join(timeout=15)


async def _end(started: list[Any]) -> None:
    while started:
        engine = started.pop()
        if engine.output_handler is not None:  # it would take the end of the processes for a failure
            engine.output_handler.cancel()
            await asyncio.sleep(0)
        engine.shutdown()
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in others:
            task.cancel()
        await asyncio.wait(others, timeout=5)
    asyncio.get_running_loop().stop()


def _params(asked: Asked, prompt: Prompt) -> Any:  # noqa: ANN401
    drawn, vllm = prompt.sampling, need("vllm", extra="vllm")
    return vllm.SamplingParams(
        temperature=drawn.temperature,
        max_tokens=asked.room,
        top_p=drawn.top_p,
        top_k=drawn.top_k,
        seed=None if drawn.seed is None else drawn.seed + prompt.sample,
        stop=list(drawn.stop),
        logprobs=drawn.logprobs or None,
        output_kind=need("vllm.sampling_params", extra="vllm").RequestOutputKind.FINAL_ONLY,
    )


def _logprobs(places: Sequence[dict[int, Any]] | None, best: int) -> tuple[dict[str, float], ...]:
    """The `best` alternatives at each place, without the drawn token where it is none of them."""
    read = []
    for place in places or ():
        ranked = sorted((found for found in place.values() if found.rank <= best), key=lambda found: found.rank)
        read.append({found.decoded_token: found.logprob for found in reversed(ranked)})
    return tuple(read)


@contextmanager
def _environment() -> Iterator[None]:
    """`_SETTINGS` while vLLM starts; what it sets itself, such as libraries to preload, is undone afterwards."""
    before = dict(os.environ)
    os.environ.update({name: value for name, value in _SETTINGS.items() if name not in before})
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update({name: value for name, value in before.items() if os.environ.get(name) != value})
