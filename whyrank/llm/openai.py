"""Any server that speaks OpenAI's chat API: vLLM, SGLang, llama.cpp, Ollama, hosted models, OpenAI itself."""

import asyncio
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from whyrank.errors import BadInput, need
from whyrank.llm.base import LLM, Completion, Failed, Failure, Ok, Prompt, Tokenizer, Usage, split_reasoning, thinking
from whyrank.llm.budget import load_tokenizer
from whyrank.registry import HOW

_TOO_LONG = re.compile(
    r"context.{0,20}(length|window|size)|prompt is too long|too many tokens|maximum.{0,20}tokens", re.I | re.S
)

_BY_STATUS: Mapping[int, Failure] = {
    401: "auth",
    403: "auth",
    404: "not_found",
    408: "timeout",
    409: "server",
    425: "server",
    429: "rate_limit",
}

_FINISHED = {"stop", "eos", "eos_token", "end_turn", "stop_sequence"}


@dataclass(frozen=True)
class OpenAI(LLM):
    """A model behind an OpenAI-compatible server, asked through the package `openai`.

    The key comes from the environment only (`OPENAI_API_KEY`); with a `base_url` none is needed.

    Attributes:
        model: the name that the server knows.
        base_url: such as "http://localhost:8000/v1"; without it `OPENAI_BASE_URL` or OpenAI itself is asked.
        concurrency: how many requests may be under way at once.
        timeout: seconds for one request as a whole, as long as reasoning takes.
        context: the model's window in tokens; without it prompts are sent as they are, and shortened when refused.
        tokenizer_from: where the model's tokenizer lies (a tokenizer.json, its folder, or a name on the hub), to fit
            prompts exactly; without it lengths are estimated.
        prefill: whether the server goes on with a turn of the assistant that was begun (`continue_final_message`, as
            vLLM has it); False puts what was written into the question as notes. None is True with a `base_url`.
        extra_body: what else goes into each request, such as `{"chat_template_kwargs": {"enable_thinking": False}}`.

    Raises:
        BadInput: `base_url` is no http address, or carries a password.
    """

    model: str
    base_url: str | None = field(default=None, metadata=HOW)
    concurrency: int = field(default=32, metadata=HOW)
    timeout: float = field(default=600.0, metadata=HOW)
    context: int | None = None
    tokenizer_from: str | None = None
    prefill: bool | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict, hash=False)
    _clients: dict[asyncio.AbstractEventLoop, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the address."""
        if self.base_url is not None:
            address = urlsplit(self.base_url)
            if address.scheme not in {"http", "https"} or not address.hostname:
                raise BadInput(f"base_url must be like 'http://localhost:8000/v1', not {self.base_url!r}")
            if address.password or address.username:
                raise BadInput(
                    "base_url must carry no user or password, since specs are written to files: use OPENAI_API_KEY"
                )

    @property
    def identity(self) -> str:
        """The model, and what `extra_body` and `prefill` change about it."""
        given = dict(self.extra_body) | ({} if self.prefill is None else {"prefill": self.prefill})
        return f"{self.model} {json.dumps(given, sort_keys=True)}" if given else self.model

    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer that `tokenizer_from` names."""
        return None if self.tokenizer_from is None else load_tokenizer(self.tokenizer_from)

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        if (client := self._clients.pop(asyncio.get_running_loop(), None)) is not None:
            await client.close()

    async def _generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
        return await asyncio.gather(*map(self._one, prompts))

    async def _one(self, prompt: Prompt) -> Completion:
        openai = need("openai", extra="openai", asked_by="openai(...)")
        try:
            client = self._client(openai)
        except openai.OpenAIError as error:
            return Failed("auth", f"set the environment variable OPENAI_API_KEY, or give base_url ({error})")
        try:
            async with asyncio.timeout(self.timeout):
                response = await client.chat.completions.with_raw_response.create(**self._arguments(prompt))
                body = response.http_response.text
        except (TimeoutError, openai.APITimeoutError):
            return Failed("timeout", f"no answer within {self.timeout:g} s")
        except openai.APIConnectionError as error:
            return Failed("connection", f"{client.base_url}: {error.__cause__ or error}")
        except openai.APIStatusError as error:
            return _refused(error.status_code, error.message, error.body, error.response.headers)
        except UnicodeEncodeError as error:
            return Failed("bad_request", f"the prompt is no valid text: {error}")
        return read_completion(body, prompt)

    def _client(self, openai: Any) -> Any:  # noqa: ANN401 (an optional package)
        """The client of the running loop, since connections belong to one loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            given = self.base_url or os.environ.get("OPENAI_BASE_URL")
            key = os.environ.get("OPENAI_API_KEY") or ("none" if given else None)
            self._clients[loop] = openai.AsyncOpenAI(api_key=key, base_url=given, timeout=self.timeout, max_retries=0)
        return self._clients[loop]

    def _arguments(self, prompt: Prompt) -> dict[str, Any]:
        drawn = prompt.sampling
        limit = "max_tokens" if self.base_url else "max_completion_tokens"
        prefill = bool(self.base_url) if self.prefill is None else self.prefill
        messages = prompt.chat if prefill else _as_notes(prompt.chat)
        arguments: dict[str, Any] = {"model": self.model, "messages": messages, limit: drawn.max_tokens}
        arguments["temperature"] = drawn.temperature
        if drawn.top_p != 1.0:
            arguments["top_p"] = drawn.top_p
        if drawn.seed is not None:
            arguments["seed"] = drawn.seed + prompt.sample
        if drawn.stop:
            arguments["stop"] = list(drawn.stop)
        if drawn.logprobs:
            arguments |= {"logprobs": True, "top_logprobs": drawn.logprobs}
        extra: dict[str, Any] = {"top_k": drawn.top_k} if drawn.top_k else {}
        if prompt.begun and prefill:
            extra |= {"continue_final_message": True, "add_generation_prompt": False}
        if extra := extra | dict(self.extra_body):
            arguments["extra_body"] = extra
        return arguments


def read_completion(body: str, prompt: Prompt | None = None) -> Completion:
    """What a server's answer with status 200 says: `Ok`, a refusal, or a bad answer where its form is broken.

    Servers that look for thoughts do not see the turn that was begun in `prompt`: what follows a closed thought may
    come back as reasoning, and what follows an open one as text.
    """
    try:
        answered = json.loads(body)
        choice, usage = answered["choices"][0], answered.get("usage") or {}
        message, finish = choice["message"], choice["finish_reason"]
        content = _text(message.get("content"))
        thought = _text(message.get("reasoning_content")) or _text(message.get("reasoning"))
        if refusal := message.get("refusal"):
            return Failed("refusal", str(refusal))
        if finish == "content_filter":
            return Failed("refusal", "the server's content filter stopped the answer")
        if finish not in _FINISHED and finish != "length":
            return Failed("bad_answer", f"the answer ended with finish_reason {finish!r}: {content[:200]!r}")
        begun, counted = prompt.begun if prompt is not None else "", _usage(usage)
        if "</think>" in begun and not thinking(begun):
            content, thought, counted = content or thought, "", replace(counted, reasoning=0)
        thinks = not thought and not content.lstrip().startswith("<think>")
        opened = thinking(begun) or "</think>" in (choice.get("stop_reason"), choice.get("matched_stop"))
        reasoning, answer = split_reasoning("<think>" * (thinks and opened) + content)
        return Ok(
            answer,
            thought or reasoning,
            counted,
            "length" if finish == "length" else "stop",
            _logprobs((choice.get("logprobs") or {}).get("content") or ()),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        return Failed("bad_answer", f"{type(error).__name__}: {error} in {body[:200]!r}")


def _as_notes(chat: list[dict[str, str]]) -> list[dict[str, str]]:
    """The chat with the turn that was begun, if there is one, moved to the end of the question."""
    if not chat or chat[-1]["role"] != "assistant":
        return chat
    *before, asked, begun = chat
    notes = begun["content"].replace("<think>", "").replace("</think>", "").strip()
    again = f"{asked['content']}\n\nYour notes so far:\n{notes}\n\nDo not think further: give only the answer."
    return [*before, {**asked, "content": again}]


def _text(content: object) -> str:
    """The text of a message, which some servers give in parts."""
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if part.get("type") == "text")
    if content is not None and not isinstance(content, str):
        raise TypeError(f"a text is expected, not {content!r}")
    return content or ""


def _usage(usage: Mapping[str, Any]) -> Usage:
    """Counts that a server leaves out, or gives as null, are 0."""
    asked, drawn = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    return Usage(
        int(usage.get("prompt_tokens") or 0),
        int(usage.get("completion_tokens") or 0),
        int(drawn.get("reasoning_tokens") or 0),
        int(asked.get("cached_tokens") or 0),
    )


def _logprobs(places: Sequence[Mapping[str, Any]]) -> tuple[dict[str, float], ...]:
    read = []
    for place in places:
        best = sorted(place.get("top_logprobs") or [place], key=lambda found: float(found["logprob"]))
        read.append({str(found["token"]): float(found["logprob"]) for found in best})
    return tuple(read)


def _refused(status: int, message: str, body: object, headers: Mapping[str, str]) -> Failed:
    """The class of an HTTP error."""
    code = body.get("code") if isinstance(body, dict) else None
    detail = f"HTTP {status}: {message}"
    if code == "insufficient_quota":
        return Failed("auth", detail)
    if code == "content_filter":
        return Failed("refusal", detail)
    if code == "context_length_exceeded" or (status in {400, 413, 422} and _TOO_LONG.search(message)):
        return Failed("context", detail)
    kind: Failure = _BY_STATUS.get(status, "server" if status >= 500 else "bad_request")
    return Failed(kind, detail, _seconds(headers.get("retry-after")))


def _seconds(text: str | None) -> float | None:
    """What a Retry-After header asks for, be it a number of seconds or a date; None where it is neither."""
    if not text:
        return None
    try:
        return max(float(text), 0.0)
    except ValueError:
        try:
            return max((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds(), 0.0)
        except (ValueError, TypeError):  # no date, or one without a time zone
            return None
