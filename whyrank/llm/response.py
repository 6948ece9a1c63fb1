"""What a server that speaks OpenAI's chat API said: any bytes become a completion, `Ok` or `Failed`."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from whyrank.llm.answer import Completion, Failed, Failure, Ok
from whyrank.llm.digest import LARGEST, sound
from whyrank.llm.messages import Prompt
from whyrank.llm.reasoning import opens_thought, split_reasoning, thinking
from whyrank.progress import warn
from whyrank.secrets import excerpt, without_keys
from whyrank.types import Usage

LONGEST = 4 * 2**20
"""Characters that a thought and an answer may have together; more is no answer."""

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

_STOPPED = {"stop", "eos", "eos_token", "end_turn", "stop_sequence", "stop_token", "completed", "complete", "finished"}
_CUT = {"length", "max_tokens", "max_output_tokens", "max_completion_tokens", "token_limit", "model_length"}
_REFUSED = {"content_filter", "safety", "refusal", "prohibited_content", "recitation", "blocklist", "spii"}
_BROKEN = {
    "abort",
    "aborted",
    "cancel",
    "cancelled",
    "canceled",
    "error",
    "failed",
    "timeout",
    "tool_calls",
    "function_call",
}


def read_completion(body: bytes | str, prompt: Prompt | None = None) -> Completion:
    """What a server's answer with status 200 says: `Ok`, a refusal, or a bad answer where its form is broken.

    An answer that is there counts, whatever the server calls its end; where it names none that is known, it was cut if
    it used up its tokens. Servers that look for thoughts do not see the turn that was begun in `prompt`: what follows a
    closed thought may come back as reasoning, and what follows an open one as text.
    """
    text = body if isinstance(body, str) else body.decode(json.detect_encoding(body), "replace")
    try:
        return _read(_loaded(text), prompt)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        return Failed("bad_answer", f"{type(error).__name__}: {error} in {excerpt(text, 200)!r}")


def _loaded(text: str) -> Any:  # noqa: ANN401 (any JSON)
    """The JSON of a body; some gateways encode it twice."""
    found = json.loads(text)
    return json.loads(found) if isinstance(found, str) else found


def _read(answered: Any, prompt: Prompt | None) -> Completion:  # noqa: ANN401
    choice = answered["choices"][0]
    message = choice["message"]
    content = _text(message.get("content"))
    thought = _text(message.get("reasoning_content")) or _text(message.get("reasoning"))
    if len(content) + len(thought) > LONGEST:
        return Failed("bad_answer", f"an answer of {len(content) + len(thought):,} characters is none")
    counted = _usage(answered.get("usage"))
    finish = _finish(choice.get("finish_reason"), counted, prompt)
    if (refusal := message.get("refusal")) or finish in _REFUSED:
        return Failed("refusal", str(refusal or "the server's content filter stopped the answer"))
    begun = prompt.prefill if prompt is not None else ""
    if "</think>" in begun and not thinking(begun):
        content, thought, counted = content or thought, "", replace(counted, reasoning=0)
    thinks = not thought and not opens_thought(content)
    opened = thinking(begun) or "</think>" in (choice.get("stop_reason"), choice.get("matched_stop"))
    reasoning, answer = split_reasoning("<think>" * (thinks and opened) + content)
    if finish in _BROKEN or (finish not in {"stop", "length"} and not answer):
        return Failed("bad_answer", f"the answer ended with finish_reason {finish!r}: {excerpt(content, 200)!r}")
    wanted = prompt is None or prompt.sampling.logprobs or prompt.targets
    logprobs = _logprobs((choice.get("logprobs") or {}).get("content") or ()) if wanted else ()
    return sound(Ok(answer, thought or reasoning, counted, "length" if finish == "length" else "stop", logprobs))


def _text(content: object) -> str:
    """The text of a message, which some servers give in parts; without the key where one echoes it."""
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if part.get("type") == "text")
    if content is not None and not isinstance(content, str):
        raise TypeError(f"a text is expected, not {type(content).__name__}")
    return without_keys(content or "")


def _finish(said: object, counted: Usage, prompt: Prompt | None) -> str:
    """How an answer ended: "stop" or "length", or in the server's own word, in small letters, where it is none."""
    word = said.strip().lower() if isinstance(said, str) else ""
    if word in _STOPPED:
        return "stop"
    used_up = prompt is not None and counted.output >= prompt.sampling.max_tokens
    if word in _CUT or (used_up and word not in _BROKEN | _REFUSED):
        return "length"
    return word or repr(said)[:40]


def _usage(usage: object) -> Usage:
    """Tokens as far as they can be; counts that a server leaves out, or that are none, are 0."""
    counts, strange = usage if isinstance(usage, Mapping) else {}, []

    def count(given: object, name: str) -> int:
        found = given.get(name) if isinstance(given, Mapping) else None
        if isinstance(found, float) and found.is_integer():
            found = int(found)
        if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= LARGEST:
            return found
        strange.extend([name] * (found is not None))
        return 0

    sent, drawn = count(counts, "prompt_tokens"), count(counts, "completion_tokens")
    reasoning = count(counts.get("completion_tokens_details"), "reasoning_tokens")
    cached = count(counts.get("prompt_tokens_details"), "cached_tokens")
    if strange:
        warn(f"a server reports numbers of tokens that cannot be ({', '.join(strange)}): they count as 0")
    return Usage(sent, drawn, min(reasoning, drawn), min(cached, sent))


def _logprobs(places: Sequence[Mapping[str, Any]]) -> tuple[dict[str, float], ...]:
    read = []
    for place in places:
        found = {_text(one["token"]): float(one["logprob"]) for one in place.get("top_logprobs") or [place]}
        read.append(dict(sorted(found.items(), key=lambda item: item[1])))
    return tuple(read)


def refused(status: int, message: str, body: object, headers: Mapping[str, str]) -> Failed:
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
        seconds = float(text)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError, OverflowError):  # no date, or one without a time zone
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
