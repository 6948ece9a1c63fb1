"""Fuzz the body of a model server's response: a completion that can be recorded, or a counted failure."""

import json
import math

from whyrank.llm.answer import Failed
from whyrank.llm.digest import digested
from whyrank.llm.messages import Message, Piece, Prompt, Sampling
from whyrank.llm.response import read_completion, refused

from .drive import Target, main

BODY = (
    b'{"id": "1", "choices": [{"index": 0, "message": {"role": "assistant", "content": "<answer>[2] > [1]</answer>",'
    b' "reasoning_content": "thought"}, "finish_reason": "stop", "logprobs": {"content": [{"token": "yes", "logprob":'
    b' -0.1, "top_logprobs": [{"token": "yes", "logprob": -0.1}, {"token": "no", "logprob": -2.5}]}]}}], "usage":'
    b' {"prompt_tokens": 3, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 1}}}'
)
ERROR = b'{"error": {"message": "This model has a maximum context length", "type": "x", "code": "context_length"}}'
KEYS = b'choices message content finish_reason logprobs top_logprobs usage "length" "tool_calls" reasoning'.split()
PROMPT = Prompt((Message("user", (Piece("Rank [1] one [2] two"),)),), Sampling(logprobs=5))


def body(data: bytes) -> None:
    """A response with status 200."""
    came = digested(PROMPT, read_completion(data, PROMPT))
    if isinstance(came, Failed):
        json.dumps(came.detail).encode()
        return
    f"{came.text}{came.reasoning}".encode()  # no half characters
    assert came.usage.input >= 0 and came.usage.output >= 0 and f"{came.usage.input + came.usage.output}"
    assert all(math.exp(value) <= 2 for place in came.logprobs for value in place.values())


def error(data: bytes) -> None:
    """A response with another status."""
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        told = None
    for status in (400, 401, 404, 413, 429, 500, 503, 599):
        failed = refused(status, data.decode(errors="replace"), told, {"retry-after": data.decode("latin-1")[:40]})
        assert isinstance(failed, Failed)
        json.dumps(failed.detail).encode()


TARGETS = [Target("server-body", body, (BODY,), KEYS), Target("server-error", error, (ERROR, BODY), KEYS)]

if __name__ == "__main__":
    main(TARGETS)
