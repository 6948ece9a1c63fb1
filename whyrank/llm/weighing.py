"""Scores of single tokens, and raw prompts, on a server that speaks OpenAI's API: what is sent, and what is read."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.messages import Prompt, Targets, Tokenizer

ALTERNATIVES = 20
"""How many log probabilities servers tell of at a place, at most."""


def ids_of(targets: Targets, tokenizer: Tokenizer | None) -> list[int] | Failed | None:
    """The ids of the tokens that are to be weighed; None where only the server knows them.

    A text that is more than one token of the model's is a failure.
    """
    if tokenizer is None:
        return [one for one in targets.tokens if isinstance(one, int)] if not _texts(targets) else None
    found = []
    for token in targets.tokens:
        ids = [token] if isinstance(token, int) else tokenizer.encode(token)
        if len(ids) != 1:
            return Failed("bad_request", f"{token!r} is {len(ids)} tokens of the model, and one is weighed")
        found += ids
    return found


def weighing(targets: Targets, ids: Sequence[int] | None, ours: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a request says that asks for the log probabilities of some tokens, and what it says beyond OpenAI's API.

    Args:
        targets: the tokens.
        ids: their ids, where they are known: vLLM's server tells just of these.
        ours: whether the server takes more than OpenAI's does.
    """
    asked = {"max_tokens": 1, "temperature": 0.0, "logprobs": True, "top_logprobs": ALTERNATIVES}
    if ids is None or not ours:
        return asked, {}
    return asked, {"logprob_token_ids": list(dict.fromkeys(ids)), "return_tokens_as_token_ids": True}


def weighed(came: Completion, targets: Targets, ids: Sequence[int] | None, tokenizer: Tokenizer | None) -> Completion:
    """The completion as the values of the targets; NaN of each that the server does not tell of."""
    if isinstance(came, Failed):
        return came
    told = came.logprobs[0] if came.logprobs else {}
    values = []
    for at, token in enumerate(targets.tokens):
        names = [f"token_id:{ids[at]}"] if ids is not None else []
        if isinstance(token, str):
            names.append(token)
        elif tokenizer is not None:
            names.append(tokenizer.decode([token]))
        values.append(next((told[name] for name in names if name in told), math.nan))
    return Ok("", usage=came.usage, values=tuple(values))


def for_completions(chat: Mapping[str, Any]) -> dict[str, Any]:
    """A request for the chat API whose one message is raw, as one for the API of completions."""
    (message,) = chat["messages"]
    said = {name: value for name, value in chat.items() if name not in {"messages", "top_logprobs", "logprobs"}}
    if chat.get("logprobs"):
        said["logprobs"] = chat["top_logprobs"]
    if "max_completion_tokens" in said:
        said["max_tokens"] = said.pop("max_completion_tokens")
    return {**said, "prompt": message["content"]}


def as_chat(body: bytes) -> bytes:
    """What the API of completions said, in the form of the chat API's; what is no such thing comes back as it is."""
    try:
        said = json.loads(body)
        (choice, *_) = said["choices"]
        places = (choice.get("logprobs") or {}).get("top_logprobs") or []
        content = [
            {"top_logprobs": [{"token": token, "logprob": chance} for token, chance in (place or {}).items()]}
            for place in places
        ]
        told = {**choice, "message": {"content": choice["text"]}, "logprobs": {"content": content}}
        return json.dumps({**said, "choices": [told]}).encode()
    except (ValueError, LookupError, TypeError, AttributeError):
        return body


def unweighable(prompt: Prompt) -> Failed | None:
    """Why a server cannot answer: it tells log probabilities, and no logits."""
    if prompt.targets is None or prompt.targets.unit != "logit":
        return None
    return Failed(
        "bad_request",
        "this score is read from a logit, and servers tell log probabilities: "
        "give transformers(...) or vllm(..., logits=True)",
    )


def _texts(targets: Targets) -> bool:
    return any(isinstance(token, str) for token in targets.tokens)
