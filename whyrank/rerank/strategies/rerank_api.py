"""Reranking by a server that scores documents, in the words of any vendor."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

from whyrank.fields import Above, Positive
from whyrank.llm.answer import Failed
from whyrank.llm.engine import LLM
from whyrank.llm.report import reported
from whyrank.llm.rerank_server import WIRES, Dialect, RerankServer, prompt_of
from whyrank.llm.schedule import Plan
from whyrank.registry import HOW
from whyrank.rerank.base import LLMReranker, Order, Request
from whyrank.types import Place, Repairs, Status


@dataclass(frozen=True)
class RerankAPI(LLMReranker):
    """Scores the candidates by a rerank server: one call for as many documents as it takes, 32 of TEI, else 1,000.

    Calls are those of the scheduler: bounded, tried again, recorded, and counted. A candidate that the server does not
    speak of goes below those that it scores, in input order, and is counted as `missing`; equal scores keep the input
    order. The key is taken from the environment variable RERANK_API_KEY.

    Attributes:
        url: the server, such as "http://localhost:8000"; its path is the dialect's, unless it ends with one.
        model: the name that the server knows; some want none.
        dialect: whose words it speaks: "cohere", "jina", "voyage", "mixedbread", "nim", "pinecone", "vllm", "sglang",
            "llamacpp", "infinity" or "tei".
        concurrency: how many requests may be under way at once.
        timeout: seconds for one request.
        batch: documents of one request, at most; None is what servers of that kind take.

    Raises:
        BadInput: `url` is no http address, or holds a key or password.

    Examples:
        >>> RerankAPI("http://localhost:8080", dialect="tei")
        rerank_api('http://localhost:8080', dialect='tei')
    """

    llm: LLM = field(init=False, repr=False, compare=False)
    url: str
    model: str = ""
    dialect: Dialect = "cohere"
    concurrency: Positive = field(default=8, metadata=HOW)
    timeout: Annotated[float, Above(0)] = field(default=60.0, metadata=HOW)
    batch: Positive | None = field(default=None, metadata=HOW)

    def __post_init__(self) -> None:
        """Check the address, and make what asks it."""
        server = RerankServer(self.url, self.model, self.dialect, self.concurrency, self.timeout)
        object.__setattr__(self, "llm", server)

    def unit(self, score: float) -> float:
        """The score itself, or the sigmoid of a logit."""
        if not WIRES[self.dialect].logits:
            return score
        return 1 / (1 + math.exp(-score)) if score > -700 else 0.0

    def plan(self, request: Request) -> Plan[Order]:
        """All calls in one round."""
        n, size = len(request.documents), self.batch or WIRES[self.dialect].most
        groups = [range(start, min(start + size, n)) for start in range(0, n, size)]
        prompts = [prompt_of(request.query.text, [request.documents[at].content for at in group]) for group in groups]
        completions = (yield prompts) if prompts else []
        scores, calls = [math.nan] * n, []
        for group, completion in zip(groups, completions, strict=True):
            found = _scores([] if isinstance(completion, Failed) else json.loads(completion.text), len(group))
            for at, score in zip(group, found, strict=True):
                scores[at] = score
            missing = sum(map(math.isnan, found))
            status: Status = "exact" if not missing else "no_answer" if missing == len(group) else "repaired"
            report = reported(completion, status, Repairs(missing or None), thought="")
            calls.append(replace(report, shown=tuple(group), place=Place(round=0)))
        order = sorted(range(n), key=lambda at: math.inf if math.isnan(scores[at]) else -scores[at])
        return Order(tuple(order), tuple(scores), tuple(calls))


def _scores(told: Sequence[float | None], n: int) -> list[float]:
    """(n,) NaN where there is none."""
    return [math.nan if score is None else float(score) for score in told] if len(told) == n else [math.nan] * n
