"""A model in this process through vLLM's asynchronous engine: the fast one."""

import asyncio
import atexit
import itertools
import math
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar

from whyrank.errors import EngineError, need
from whyrank.fields import Above, AtMost, Positive
from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.chat import EncodedPrompt
from whyrank.llm.local import Local, located, shared
from whyrank.llm.messages import Prompt
from whyrank.registry import HOW
from whyrank.types import Usage

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

    The engine starts with the first call (half a minute and more), in processes of its own, and anew where they die. It
    ends with the last part that uses it, or with the program. A script that is run as such needs the guard
    `if __name__ == "__main__":`, since these processes import it again. On a CPU the cache has VLLM_CPU_KVCACHE_SPACE
    GiB, 1 if that is not set.

    Attributes:
        concurrency: how many requests may be under way at once.
        gpu_memory: share of each GPU's memory that weights and cache may take.
        gpus: how many GPUs the model is spread over (tensor parallelism).
        logits: whether it tells logits in the place of log probabilities, which scores of one token are read from.

    Raises:
        MissingExtra: vllm is not installed.
        EngineError: the engine cannot be started.
    """

    extra: ClassVar[str] = "vllm"
    packages = ("vllm", "transformers")

    concurrency: Positive = field(default=256, metadata=HOW)
    gpu_memory: Annotated[float, Above(0), AtMost(1)] = field(default=0.9, metadata=HOW)
    gpus: Positive = field(default=1, metadata=HOW)
    logits: bool = False

    async def _generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
        return await asyncio.gather(*map(self._one, prompts))

    async def _one(self, prompt: Prompt) -> Completion:
        asked, weighed = self.read(prompt), self._weighed(prompt)
        if isinstance(asked, Failed):
            return asked
        if isinstance(weighed, Failed):
            return weighed
        return await self._engine.ask(self, replace(asked, weighed=tuple(weighed)), prompt)

    def _weighed(self, prompt: Prompt) -> list[int] | Failed:
        """The tokens that the engine is to weigh; none where a completion is asked for."""
        if prompt.targets is not None and prompt.targets.unit == ("logprob" if self.logits else "logit"):
            return Failed(
                "bad_request",
                f"this score is read from a {prompt.targets.unit}: give vllm(..., logits={not self.logits})",
            )
        return self.targets(prompt)

    @cached_property
    def _engine(self) -> "_Engine":
        return shared(self, lambda: _Engine(self))


class _Engine:
    """vLLM's engine in a thread with an event loop of its own, so that it outlives the loops that ask it."""

    def __init__(self, part: VLLM) -> None:
        self._loop, self._numbers = asyncio.new_event_loop(), itertools.count()
        self._llm: list[Any] = []  # the engine once it has started, taken out again where it is closed
        thread = threading.Thread(target=_live, args=(self._loop,), name=f"vllm {part.model}", daemon=True)
        thread.start()
        self._close = weakref.finalize(self, _close, self._llm, self._loop, thread)
        self._spec, self._options = repr(part), _options(part)
        self._start()

    def _start(self) -> None:
        work = _start(self._spec, self._options, self._llm, self._close)
        self._started = asyncio.run_coroutine_threadsafe(work, self._loop)

    async def ask(self, part: VLLM, asked: EncodedPrompt, prompt: Prompt) -> Completion:
        """The completion of one prompt; a caller that is cancelled cancels the request."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._ask(part, asked, prompt), self._loop))

    async def _ask(self, part: VLLM, asked: EncodedPrompt, prompt: Prompt) -> Completion:
        await asyncio.shield(asyncio.wrap_future(self._started))
        errors = need("vllm.v1.engine.exceptions", extra="vllm")
        refusal = getattr(need("vllm.exceptions", extra="vllm"), "VLLMClientError", ValueError)
        llm = self._llm[0]
        try:
            begun, rest = await self._begin(llm, part, asked, prompt) if asked.first else (asked, "")
            result = await self._written(llm, begun.ids, _params(part, begun, prompt))
        except errors.EngineDeadError as error:
            self._restart(llm)
            return Failed("server", f"vLLM's engine died and is started anew: {error}")
        except errors.EngineGenerateError as error:
            return Failed("server", f"vLLM's engine failed: {error.__cause__ or error}")
        except (ValueError, refusal) as error:
            return Failed("bad_request", str(error))
        written = result.outputs[0]
        if written.finish_reason not in {"stop", "length"}:
            return Failed("server", f"vLLM ended the request with {written.finish_reason!r}")
        cached = result.num_cached_tokens or 0
        if asked.weighed:
            usage = Usage(len(asked.ids), 0, cached=cached)
            return Ok("", usage=usage, values=_values(written.logprobs, asked.weighed))
        logprobs = _logprobs(written.logprobs, prompt.sampling.logprobs)
        text = rest + (part.chat.spoken(written.text) if part.chat.marks else written.text)
        return part.chat.ok(asked, written.token_ids, text, written.finish_reason, logprobs, cached)

    async def _begin(self, llm: Any, part: VLLM, asked: EncodedPrompt, prompt: Prompt) -> tuple[EncodedPrompt, str]:  # noqa: ANN401
        """The prompt with the first token that the model chose of those it may, and what that holds of the answer."""
        params = _params(part, replace(asked, room=1), prompt)
        params.allowed_token_ids, params.logprobs, params.stop = list(asked.first), None, []
        params.structured_outputs = None
        (chosen,) = (await self._written(llm, asked.ids, params)).outputs[0].token_ids
        begun = replace(asked, ids=[*asked.ids, chosen], room=max(asked.room - 1, 1))
        return begun, part.chat.decode([chosen]).removeprefix(asked.lead)

    async def _written(self, llm: Any, ids: list[int], params: Any) -> Any:  # noqa: ANN401
        """What the engine gives for a prompt, at its end."""
        async for result in llm.generate({"prompt_token_ids": ids}, params, str(next(self._numbers))):
            last = result
        return last

    def _restart(self, dead: Any) -> None:  # noqa: ANN401
        """Put a new engine in the place of a dead one, once for all requests that died with it."""
        if dead in self._llm:
            self._llm.remove(dead)
            dead.shutdown()
            self._start()


def _options(part: VLLM) -> dict[str, Any]:
    return {
        "model": located(part.model),
        "max_model_len": part.context_length,
        "dtype": part.dtype,
        "gpu_memory_utilization": part.gpu_memory,
        "tensor_parallel_size": part.gpus,
        "max_num_seqs": part.concurrency,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        "logprobs_mode": "raw_logits" if part.logits else "raw_logprobs",
    }


def _launch(spec: str, options: dict[str, Any]) -> Any:  # noqa: ANN401
    """Start vLLM's engine, an `AsyncLLM`; to be called inside the event loop that it will live in.

    This and its callers must not hold the part: vLLM keeps their frames, so that the part would never be released.
    """
    with _environment():
        vllm = need("vllm", extra="vllm", asked_by="vllm(...)")
        if need("vllm.platforms", extra="vllm").current_platform.is_cpu():
            dtype = "float32" if options["dtype"] == "auto" else options["dtype"]
            options = {**options, "dtype": dtype, "enforce_eager": True}
        try:
            engine = need("vllm.v1.engine.async_llm", extra="vllm").AsyncLLM
            return engine.from_engine_args(vllm.AsyncEngineArgs(**options))
        except (ValueError, OSError, RuntimeError) as error:
            raise EngineError(f"{spec} cannot be started, vLLM's own messages above say more: {error}") from error


def _live(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


async def _start(spec: str, options: dict[str, Any], started: list[Any], close: Callable[[], object]) -> None:
    started.append(_launch(spec, options))
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


def _params(part: VLLM, asked: EncodedPrompt, prompt: Prompt) -> Any:  # noqa: ANN401
    drawn, vllm = prompt.sampling, need("vllm", extra="vllm")
    final = need("vllm.sampling_params", extra="vllm").RequestOutputKind.FINAL_ONLY
    if asked.weighed:
        return vllm.SamplingParams(
            temperature=0.0, max_tokens=1, logprob_token_ids=list(dict.fromkeys(asked.weighed)), output_kind=final
        )
    return vllm.SamplingParams(
        temperature=part.temperature(drawn),
        max_tokens=asked.room,
        top_p=drawn.top_p,
        top_k=drawn.top_k,
        min_p=drawn.min_p,
        min_tokens=min(drawn.min_tokens, asked.room),
        seed=None if drawn.seed is None else drawn.seed + prompt.sample,
        stop=list(drawn.stop),
        logprobs=drawn.logprobs or None,
        skip_special_tokens=not part.chat.marks,
        structured_outputs=_kept(asked, prompt),
        output_kind=final,
    )


def _kept(asked: EncodedPrompt, prompt: Prompt) -> Any:  # noqa: ANN401
    """What vLLM keeps the model to; nothing inside a thought that is open."""
    if prompt.constraint is None or asked.opened:
        return None
    return need("vllm.sampling_params", extra="vllm").StructuredOutputsParams(grammar=prompt.constraint.grammar)


def _values(places: Sequence[dict[int, Any]] | None, ids: Sequence[int]) -> tuple[float, ...]:
    """What the engine tells of some tokens at the first place, NaN where it tells nothing."""
    told = places[0] if places else {}
    return tuple(float(told[id].logprob) if id in told else math.nan for id in ids)


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
