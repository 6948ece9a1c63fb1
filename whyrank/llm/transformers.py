"""A model in this process through Hugging Face transformers: the engine that runs anywhere."""

import asyncio
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

from whyrank.errors import need
from whyrank.fields import Positive
from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.chat import Chat, EncodedPrompt
from whyrank.llm.local import Local, shared
from whyrank.llm.messages import Prompt, Sampling
from whyrank.registry import HOW
from whyrank.types import Usage

_NO_MEMORY = ("out of memory", "can't allocate memory")


@dataclass(frozen=True)
class Transformers(Local):
    """A model run by transformers, `batch` prompts at a time, on a GPU where there is one.

    Prompts of any settings share a batch. An answer depends neither on its batch's size nor on its company, but for
    rounding: each draw has a random generator of its own, seeded with `seed` plus the number of the sample.
    A batch that does not fit into memory is halved. For many prompts `vllm(...)` is much faster.

    Attributes:
        batch: how many prompts are answered at once.
        device: such as "cuda:1"; without it the first GPU, or the CPU.

    Raises:
        MissingExtra: torch or transformers is not installed.
        EngineError: the model cannot be loaded.
    """

    extra: ClassVar[str] = "transformers"
    packages = ("transformers", "torch")

    batch: Positive = field(default=8, metadata=HOW)
    device: str | None = field(default=None, metadata=HOW)

    async def _generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
        stopped = threading.Event()
        try:
            return await asyncio.to_thread(self._answer, prompts, stopped)
        finally:
            stopped.set()

    def _answer(self, prompts: Sequence[Prompt], stopped: threading.Event) -> list[Completion]:
        asked = [self.read(prompt) for prompt in prompts]
        completions: list[Completion | None] = [one if isinstance(one, Failed) else None for one in asked]
        rows = [
            (at, _Row(one, prompt, self.chat, self.temperature(prompt.sampling)))
            for at, (one, prompt) in enumerate(zip(asked, prompts, strict=True))
            if isinstance(one, EncodedPrompt)
        ]
        rows.sort(key=lambda row: len(row[1].asked.ids))
        for kind in (True, False):
            alike = [row for row in rows if (row[1].prompt.targets is not None) is kind]
            for begin in range(0, len(alike), self.batch):
                some = alike[begin : begin + self.batch]
                for (at, _), completion in zip(some, self._complete([row for _, row in some], stopped), strict=True):
                    completions[at] = completion
        return completions  # type: ignore[return-value]

    def _complete(self, rows: Sequence["_Row"], stopped: threading.Event) -> list[Completion]:
        """Answer one batch, or, where memory does not suffice, its halves one after the other."""
        try:
            if rows[0].prompt.targets is not None:
                return self._weighed(rows)
            self._model.write(rows, stopped)
            return [row.completion() for row in rows]
        except RuntimeError as error:
            if not any(sign in str(error) for sign in _NO_MEMORY):
                raise
        self._model.free()
        if len(rows) == 1:
            tokens = len(rows[0].asked.ids)
            return [Failed("context", f"a prompt of {tokens} tokens with its answer does not fit into memory")]
        fresh = [_Row(row.asked, row.prompt, row.chat, row.temperature) for row in rows]
        half = len(rows) // 2
        return self._complete(fresh[:half], stopped) + self._complete(fresh[half:], stopped)

    def _weighed(self, rows: Sequence["_Row"]) -> list[Completion]:
        """What the model gives to the targets of each row at the position after its prompt."""
        wanted = [self.targets(row.prompt) for row in rows]
        logits = self._model.next_logits(rows)
        return [
            ids if isinstance(ids, Failed) else row.weighed(scores, ids)
            for row, ids, scores in zip(rows, wanted, logits, strict=True)
        ]

    @cached_property
    def _model(self) -> "_Model":
        return shared(self, lambda: _Model(self))


class _Model:
    """A loaded model that writes batches."""

    def __init__(self, part: Transformers) -> None:
        self._torch = need("torch", extra="transformers", asked_by="transformers(...)")
        self._lists = need("transformers", extra="transformers", asked_by="transformers(...)")
        gpu = self._torch.accelerator.current_accelerator() if self._torch.accelerator.is_available() else None
        self._device = self._torch.device(part.device or gpu or "cpu")
        dtype = "float32" if part.dtype == "auto" and self._device.type == "cpu" else part.dtype
        self._pairs = part.encoder_decoder
        kind = "AutoModelForSeq2SeqLM" if self._pairs else "AutoModelForCausalLM"
        self._model = part._from_pretrained(kind, dtype=dtype).to(self._device).eval()
        # Only what ends a completion is kept of the model's own settings: temperature and so on come with each prompt.
        own, tokenizer = self._model.generation_config, part.chat.tokenizer
        self._end = own.eos_token_id if own.eos_token_id is not None else tokenizer.eos_token_id
        self._ends = set(self._end) if isinstance(self._end, list) else {self._end}
        self._start = getattr(self._model.config, "decoder_start_token_id", None)
        self._pad = next((id for id in (tokenizer.pad_token_id, *self._ends) if id is not None), 0)
        self._model.generation_config = self._lists.GenerationConfig()

    def next_logits(self, rows: Sequence["_Row"]) -> Any:  # noqa: ANN401
        """(rows, vocabulary) float32: the logits at the position after each prompt; of the first new one of a T5."""
        torch = self._torch
        ids, mask = self._padded(rows)
        with torch.inference_mode():
            if self._pairs:
                start = torch.full((len(rows), 1), self._start, device=self._device)
                return self._model(input_ids=ids, attention_mask=mask, decoder_input_ids=start).logits[:, -1].float()
            places = (mask.cumsum(-1) - 1).clamp(min=0)
            return (
                self._model(input_ids=ids, attention_mask=mask, position_ids=places, use_cache=False, logits_to_keep=1)
                .logits[:, -1]
                .float()
            )

    def _padded(self, rows: Sequence["_Row"]) -> tuple[Any, Any]:
        """(rows, width) the ids of all prompts, ending together; and which of them are the prompts' own."""
        torch = self._torch
        width = max(len(row.asked.ids) for row in rows)
        ids = torch.full((len(rows), width), self._pad)
        mask = torch.zeros_like(ids)
        for at, row in enumerate(rows):
            ids[at, width - len(row.asked.ids) :] = torch.tensor(row.asked.ids)
            mask[at, width - len(row.asked.ids) :] = 1
        return ids.to(self._device), mask.to(self._device)

    def write(self, rows: Sequence["_Row"], stopped: threading.Event) -> None:
        """Let the model write until every row has ended, or until `stopped` is set."""
        torch = self._torch
        ids, mask = self._padded(rows)

        def draw(_: Any, logits: Any) -> Any:  # noqa: ANN401
            return torch.stack([row.draw(torch, scores, self._ends) for row, scores in zip(rows, logits, strict=True)])

        def ended(written: Any, *_: Any, **__: Any) -> Any:  # noqa: ANN401
            for row, id in zip(rows, written[:, -1].tolist(), strict=True):
                row.take(id, self._ends)
            return torch.tensor([row.finish is not None or stopped.is_set() for row in rows], device=written.device)

        with torch.inference_mode():
            self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=self._lists.GenerationConfig(
                    max_new_tokens=max(row.asked.room for row in rows),
                    eos_token_id=self._end,
                    pad_token_id=self._pad,
                    do_sample=False,
                ),
                logits_processor=self._lists.LogitsProcessorList([draw] if any(row.draws for row in rows) else []),
                stopping_criteria=self._lists.StoppingCriteriaList([ended]),
            )

    def free(self) -> None:
        """Give memory that is held in reserve back to the device."""
        if self._device.type == "cuda":
            self._torch.cuda.empty_cache()


@dataclass
class _Row:
    """One prompt of a batch, and what has been written for it."""

    asked: EncodedPrompt
    prompt: Prompt
    chat: Chat
    temperature: float
    written: list[int] = field(default_factory=list)
    text: str = ""
    finish: Literal["stop", "length"] | None = None
    logprobs: list[dict[str, float]] = field(default_factory=list)
    _generator: Any = None

    @property
    def draws(self) -> bool:
        """Whether `draw` has anything to do."""
        drawn = self.prompt.sampling
        return bool(self.asked.first) or self.temperature > 0.0 or drawn.logprobs > 0 or drawn.min_tokens > 0

    def draw(self, torch: Any, scores: Any, ends: Collection[int]) -> Any:  # noqa: ANN401
        """`scores` (vocabulary,), changed so that their maximum stands at the token that is drawn.

        The maximum of log probabilities plus Gumbel noise is a draw from the distribution (Gumbel-max trick).
        """
        drawn = self.prompt.sampling
        if self.finish is not None:
            return scores
        if self.asked.first and not self.written:
            allowed = torch.full_like(scores, -torch.inf)
            allowed[list(self.asked.first)] = scores[list(self.asked.first)]
            scores = allowed
        elif drawn.logprobs:
            best = torch.log_softmax(scores, -1).topk(min(drawn.logprobs, len(scores)))
            self.logprobs.append({})
            for value, id in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                self.logprobs[-1].setdefault(self.chat.decode([id]), value)
        if len(self.written) < drawn.min_tokens:
            scores = scores.index_fill(-1, torch.tensor(sorted(ends), device=scores.device), -torch.inf)
        if self.temperature == 0.0:
            return scores
        if self._generator is None:
            self._generator = torch.Generator(scores.device)
            if drawn.seed is None:
                self._generator.seed()
            else:
                self._generator.manual_seed(drawn.seed + self.prompt.sample)
        noise = torch.empty_like(scores).exponential_(generator=self._generator)
        return _nucleus(torch, scores / self.temperature, drawn) - noise.log()

    def take(self, id: int, ends: set[int]) -> None:
        """Note the next token, and whether the completion ends with it."""
        if self.finish is not None:
            return
        self.written.append(id)
        if id in ends or self._meets_stop():
            self.finish = "stop"
        elif len(self.written) >= self.asked.room:
            self.finish = "length"

    def completion(self) -> Completion:
        """What was written; without the string that stopped it."""
        text, stops = self.chat.answer(self.written).removeprefix(self.asked.lead), self.prompt.sampling.stop
        if cuts := [at for at in (text.find(stop) for stop in stops) if at >= 0]:
            text = text[: min(cuts)]
        finish = self.finish or "length"
        new = self.written[1:] if self.asked.first else self.written  # the first stands for one that was asked
        return self.chat.ok(self.asked, new, text, finish, logprobs=tuple(self.logprobs))

    def weighed(self, logits: Any, ids: Sequence[int]) -> Ok:  # noqa: ANN401
        """The logits (vocabulary,) of some tokens, or, as the prompt asks for it, their log probabilities."""
        assert self.prompt.targets is not None
        told = logits if self.prompt.targets.unit == "logit" else logits.log_softmax(-1)
        return Ok("", usage=Usage(len(self.asked.ids), 0), values=tuple(told[list(ids)].tolist()))

    def _meets_stop(self) -> bool:
        if not (stops := self.prompt.sampling.stop):
            return False
        longest = max(len(stop.encode()) for stop in stops)  # a token holds at least one byte
        tail = self.chat.answer(self.written[-longest - 4 :])
        if len(self.written) <= longest + 4:
            tail = tail.removeprefix(self.asked.lead)
        return any(stop in tail for stop in stops)


def _nucleus(torch: Any, scores: Any, drawn: Sampling) -> Any:  # noqa: ANN401
    """`scores` (vocabulary,) with -inf outside the `top_k` best, the smallest set of weight `top_p`, and `min_p`."""
    if 0 < drawn.top_k < len(scores):
        scores = scores.masked_fill(scores < scores.topk(drawn.top_k).values[-1], -torch.inf)
    if drawn.top_p < 1.0:
        ordered, places = scores.sort(descending=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        scores = scores.masked_fill((before >= drawn.top_p).scatter(0, places, before >= drawn.top_p), -torch.inf)
    if drawn.min_p > 0.0:
        chances = scores.softmax(-1)
        scores = scores.masked_fill(chances < drawn.min_p * chances.max(), -torch.inf)
    return scores
