"""Any server that speaks OpenAI's chat API: vLLM, SGLang, llama.cpp, Ollama, hosted models, OpenAI itself."""

import asyncio
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from whyrank.errors import BadInput, need
from whyrank.fields import INFINITE, Above, Positive
from whyrank.llm.address import check_address, check_no_key, variable
from whyrank.llm.answer import Completion, Failed
from whyrank.llm.budget import load_tokenizer
from whyrank.llm.engine import LLM, Tokenizer
from whyrank.llm.http import BadResponse, Elsewhere, bounded
from whyrank.llm.manners import LIMITS, Manners
from whyrank.llm.messages import Prompt, joined
from whyrank.llm.reasoning import thinking
from whyrank.llm.response import read_completion, refused
from whyrank.llm.weighing import as_chat, for_completions, ids_of, unweighable, weighed, weighing
from whyrank.registry import HOW
from whyrank.secrets import remember

FORMS = 6
"""How often a call is asked in another form, at most, by a server that takes less than others."""


@dataclass(frozen=True)
class OpenAI(LLM):
    """A model behind an OpenAI-compatible server, asked through the package `openai`.

    The key comes from the environment only (`OPENAI_API_KEY`); with a `base_url` none is needed. Where a server says
    that it does not take something, it is asked otherwise from then on: a system turn is put in front of the question,
    `max_tokens` called `max_completion_tokens`, and a temperature or the like left out, with a warning.

    Attributes:
        model: the name that the server knows.
        base_url: such as "http://localhost:8000/v1"; without it `OPENAI_BASE_URL` or OpenAI itself is asked.
        concurrency: how many requests may be under way at once.
        timeout: seconds for one request as a whole, as long as reasoning takes. What runs out of it is asked
            three times; what bounds the time of a query as a whole is `seconds` of `rank`, or `--seconds-per-query`.
        context: the model's window in tokens; without it prompts are sent as they are, and shortened when refused.
        tokenizer_from: where the model's tokenizer lies (a tokenizer.json, its folder, or a name on the hub), to fit
            prompts exactly; without it lengths are estimated.
        prefill: whether the server goes on with a turn of the assistant that was begun (`continue_final_message`, as
            vLLM has it); False puts what was written into the question as notes. None is True with a `base_url`.
        extra_body: what else goes into each request, such as `{"chat_template_kwargs": {"enable_thinking": False}}`.

    Raises:
        BadInput: `base_url` is no http address, or a key or password is where specs would show it.
    """

    model: str
    base_url: str | None = field(default=None, metadata=HOW)
    concurrency: Positive = field(default=32, metadata=HOW)
    timeout: Annotated[float, Above(0), INFINITE] = field(default=600.0, metadata=HOW)
    context: Positive | None = None
    tokenizer_from: str | None = None
    prefill: bool | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict, hash=False)
    _clients: dict[asyncio.AbstractEventLoop, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    _manners: Manners = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the address, and that no key is in what a spec shows."""
        if self.base_url is not None:
            check_address(self.base_url, "base_url", "OPENAI_API_KEY")
        for name in ("model", "base_url", "tokenizer_from", "extra_body"):
            check_no_key(getattr(self, name), name, "OPENAI_API_KEY")
        object.__setattr__(self, "_manners", Manners(LIMITS[0] if self.base_url else LIMITS[1]))

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
        if (why := unweighable(prompt)) is not None:
            return why
        ids = ids_of(prompt.targets, self.tokenizer()) if prompt.targets is not None else None
        if isinstance(ids, Failed):
            return ids
        came = await self._told(prompt, ids)
        return came if prompt.targets is None else weighed(came, prompt.targets, ids, self.tokenizer())

    async def _told(self, prompt: Prompt, ids: Sequence[int] | None) -> Completion:
        openai = need("openai", extra="openai", asked_by="openai(...)")
        client = self._client(openai)
        if isinstance(client, Failed):
            return client
        try:
            async with asyncio.timeout(self.timeout):
                for _ in range(FORMS):
                    sent = self._arguments(prompt, ids)
                    said = await self._ask(openai, client, sent, prompt)
                    if isinstance(said, Failed):
                        self._manners.learn(said, sent)
                    if self._arguments(prompt, ids) == sent:
                        break
                return said
        except (TimeoutError, openai.APITimeoutError):
            return Failed("timeout", f"no answer within {self.timeout:g} s")

    async def _ask(self, openai: Any, client: Any, arguments: dict[str, Any], prompt: Prompt) -> Completion:  # noqa: ANN401
        """One request, and what came of it."""
        try:
            if prompt.raw:
                response = await client.completions.with_raw_response.create(**for_completions(arguments))
            else:
                response = await client.chat.completions.with_raw_response.create(**arguments)
        except openai.APITimeoutError:
            raise
        except openai.APIStatusError as error:
            return refused(error.status_code, error.message, error.body, error.response.headers)
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            return (
                _unread(cause)
                if isinstance(cause, BadResponse)
                else Failed("connection", f"{client.base_url}: {cause}")
            )
        except BadResponse as error:
            return _unread(error)
        said = response.http_response.content
        return read_completion(as_chat(said) if prompt.raw else said, prompt)

    def _client(self, openai: Any) -> Any:  # noqa: ANN401 (an optional package)
        """The client of the running loop, since connections belong to one loop; or why there is none."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            try:
                self._clients[loop] = self._connected(openai)
            except BadInput as error:
                return Failed("auth", str(error))
        return self._clients[loop]

    def _connected(self, openai: Any) -> Any:  # noqa: ANN401
        given = self.base_url or variable("OPENAI_BASE_URL")
        if given is not None:
            check_address(given, "base_url" if self.base_url else "OPENAI_BASE_URL", "OPENAI_API_KEY")
        key = variable("OPENAI_API_KEY") or ("none" if given else None)
        if key is None:
            raise BadInput("set the environment variable OPENAI_API_KEY, or give base_url")
        remember(key)
        made_of = next(kind for kind in openai.DefaultAsyncHttpxClient.__mro__ if kind.__name__ == "AsyncClient")
        http = importlib.import_module(made_of.__module__.partition(".")[0])
        return openai.AsyncOpenAI(
            api_key=key,
            organization=variable("OPENAI_ORG_ID"),
            project=variable("OPENAI_PROJECT_ID"),
            base_url=given,
            timeout=self.timeout,
            max_retries=0,
            default_headers={"Accept-Encoding": "identity"},
            http_client=openai.DefaultAsyncHttpxClient(event_hooks={"response": [bounded(http)]}),
        )

    def _arguments(self, prompt: Prompt, ids: Sequence[int] | None = None) -> dict[str, Any]:
        drawn, manners = prompt.sampling, self._manners
        prefill = bool(self.base_url) if self.prefill is None else self.prefill
        chat = [{**turn, "content": turn["content"].encode(errors="replace").decode()} for turn in prompt.chat]
        messages = chat if prefill else _as_notes(chat)
        arguments: dict[str, Any] = {
            "model": self.model,
            "messages": messages if manners.system else joined(messages),
            manners.limit: drawn.max_tokens,
            "temperature": drawn.temperature,
            "top_p": drawn.top_p if drawn.top_p != 1.0 else None,
            "seed": drawn.seed + prompt.sample if drawn.seed is not None else None,
            "stop": list(drawn.stop) or None,
        }
        if drawn.logprobs:
            arguments |= {"logprobs": True, "top_logprobs": drawn.logprobs}
        extra: dict[str, Any] = {"top_k": drawn.top_k or None, "min_p": drawn.min_p or None}
        extra |= {"min_tokens": drawn.min_tokens or None, "chat_template_kwargs": dict(prompt.template_kwargs)}
        if prompt.raw and self.base_url:
            extra["add_special_tokens"] = prompt.special_tokens
        if prompt.targets is not None:
            asked, beyond = weighing(prompt.targets, ids, ours=bool(self.base_url))
            arguments |= {**asked, manners.limit: asked.pop("max_tokens")}
            extra |= beyond
        if prompt.prefill and prefill:
            extra |= {"continue_final_message": True, "add_generation_prompt": False}
        if (kept := prompt.constraint) is not None and not thinking(prompt.prefill):
            if self.base_url:
                extra |= {"structured_outputs": {"grammar": kept.grammar}, "grammar": kept.grammar}
            elif kept.schema is not None:
                form = {"name": "answer", "strict": True, "schema": kept.schema}
                arguments["response_format"] = {"type": "json_schema", "json_schema": form}
        arguments["extra_body"] = _given(extra, manners) | dict(self.extra_body)
        return _given(arguments, manners)


def _given(parameters: Mapping[str, Any], manners: Manners) -> dict[str, Any]:
    """What is sent of `parameters`: those that are set, and that the server takes."""
    return {
        name: value
        for name, value in parameters.items()
        if value not in (None, {}) and (name not in manners.left_out or name == manners.limit)
    }


def _unread(why: BaseException) -> Failed:
    """The failure of a response that was not read."""
    if isinstance(why, Elsewhere):
        return Failed(
            "bad_request",
            f"the server sends to {why}, and prompts go to no other server: if it is right, "
            "give its address as base_url",
        )
    return Failed("bad_answer", str(why))


def _as_notes(chat: list[dict[str, str]]) -> list[dict[str, str]]:
    """The chat with the turn that was begun, if there is one, moved to the end of the question."""
    if not chat or chat[-1]["role"] != "assistant":
        return chat
    *before, asked, begun = chat
    notes = begun["content"].replace("<think>", "").replace("</think>", "").strip()
    again = f"{asked['content']}\n\nYour notes so far:\n{notes}\n\nDo not think further: give only the answer."
    return [*before, {**asked, "content": again}]
