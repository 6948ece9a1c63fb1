"""Search as a tool of a model that asks for it: several queries a call, what was seen before, what may not be shown.

`SearchTool.search` is for Python, `schema` and `call` are for models that call tools with JSON, `show` is for models
that read results as text. The agent of `agent.py` reads through this tool as well.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from whyrank.errors import BadInput
from whyrank.llm.budget import clip
from whyrank.llm.content import one_line
from whyrank.llm.engine import Tokenizer
from whyrank.llm.trace import Trace
from whyrank.retrieval.base import Retriever
from whyrank.types import NO_METADATA, Corpus, Query, Ranking, Run


@dataclass(frozen=True, slots=True)
class Hit:
    """One document that a search found.

    Attributes:
        number: the document's place among all that this tool has shown, from 1; the same whenever it comes up again.
        id: its id.
        title: its title, or an empty text; in one line and `neutral`, as the text.
        text: how its text begins, in one line, where `[3]` has become `(3)` and tags are none, so that nothing in it
            can be taken for a number or for the frame of an answer; empty where it was shown before.
        score: as the retriever gave it.
        new: whether it is shown for the first time.
        metadata: what else is known of it, as `Document.metadata`; models are not shown it.
    """

    number: int
    id: str
    title: str
    text: str
    score: float
    new: bool
    metadata: Mapping[str, Any] = field(default=NO_METADATA, repr=False)


@dataclass(frozen=True, slots=True)
class FoundDocuments:
    """What one query found, best first."""

    query: str
    hits: tuple[Hit, ...]

    @property
    def new(self) -> int:
        """How many of the documents had not been shown before."""
        return sum(hit.new for hit in self.hits)


@dataclass(slots=True)
class SearchLedger:
    """What the tool has done so far.

    Attributes:
        calls: searches, of one or more queries each.
        queries: queries searched.
        shown: documents in results, each time that one occurs.
        new: documents shown for the first time.
        refused: calls that could not be read.
    """

    calls: int = 0
    queries: int = 0
    shown: int = 0
    new: int = 0
    refused: int = 0


class SearchTool:
    """A search for one conversation: it remembers what it has shown, and never shows what is excluded.

    A document that comes up again keeps its place but not its text, since the model has that already. The queries of a
    call do not depend on each other and are searched together (ParallelSearch, 2508.09303; HybridDeepSearcher,
    2508.19113).

    Examples:
        >>> from whyrank.retrieval.lexical.bm25 import BM25
        >>> from whyrank.types import Document
        >>> corpus = Corpus([Document("d1", "Bees dance."), Document("d2", "Ants dance and sing.")])
        >>> tool = SearchTool(BM25().index(corpus), corpus, k=2)
        >>> first, second = tool.search(["bees dance", "who sings?"])
        >>> [(hit.number, hit.id, hit.text, hit.new) for hit in first.hits]
        [(1, 'd1', 'Bees dance.', True), (2, 'd2', 'Ants dance and sing.', True)]
        >>> [(hit.number, hit.text, hit.new) for hit in second.hits]
        [(2, '', False)]
        >>> tool.ledger
        SearchLedger(calls=1, queries=2, shown=3, new=2, refused=0)
    """

    def __init__(
        self,
        retriever: Retriever,
        corpus: Corpus,
        k: int = 5,
        *,
        excluded: Collection[str] = (),
        only: Collection[str] | None = None,
        max_tokens: int = 256,
        max_queries: int = 8,
        tokenizer: Tokenizer | None = None,
        trace: Trace | None = None,
        name: str = "search",
    ) -> None:
        """Search `corpus`, which `retriever` has indexed.

        Args:
            retriever: with its index.
            corpus: the texts.
            k: documents for each query.
            excluded: ids of documents that must never be shown.
            only: ids of the documents that may be shown; None is all.
            max_tokens: of each document's text as it is shown.
            max_queries: queries in one call; `call` leaves the rest out and says so.
            tokenizer: to measure texts with, else their length is estimated from the characters.
            trace: the record of model calls, for retrievers that ask a model.
            name: what the ids of its queries begin with, and what models call it by.

        Raises:
            BadInput: `k`, `max_tokens` or `max_queries` is below 1.
        """
        if min(k, max_tokens, max_queries) < 1:
            raise BadInput(f"k, max_tokens and max_queries must be at least 1, not {k}, {max_tokens}, {max_queries}")
        self.retriever, self.corpus, self.k = retriever, corpus, k
        self.excluded, self.only = frozenset(excluded), None if only is None else frozenset(only)
        self.max_tokens, self.max_queries, self.tokenizer = max_tokens, max_queries, tokenizer
        self.trace, self.name = trace, name
        self.ledger = SearchLedger()
        self.seen: dict[str, int] = {}
        """The number of each document that was shown, by id, in the order shown."""

    def search(self, queries: Sequence[str]) -> list[FoundDocuments]:
        """What each of `queries` finds; all of them are searched at once.

        Raises:
            BadInput: `queries` is one text instead of a list, or holds something else than texts.
        """
        asked = self.queries(queries)
        return self.take(asked, self.retriever.search(asked, self.k, self.trace))

    def queries(self, texts: Sequence[str]) -> list[Query]:
        """The queries that `search` would hand to the retriever, for those who search for several tools at once.

        Raises:
            BadInput: as `search`.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise BadInput(f"queries must be a list of texts, not {texts!r}")
        call = self.ledger.calls + 1
        return [
            Query(f"{self.name} {call}.{at}", text, self.excluded, self.only) for at, text in enumerate(texts, start=1)
        ]

    def take(self, queries: Sequence[Query], run: Run) -> list[FoundDocuments]:
        """Show the first `k` documents that `run` has for each of `queries`, and remember them."""
        found = [FoundDocuments(query.text, self._hits(run[query.id])) for query in queries]
        self.ledger.calls += 1
        self.ledger.queries += len(found)
        self.ledger.shown += sum(len(each.hits) for each in found)
        self.ledger.new += sum(each.new for each in found)
        return found

    @property
    def schema(self) -> dict[str, Any]:
        """The tool in the form in which chat APIs and chat templates take tools (OpenAI's function calling)."""
        queries = {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "maxItems": self.max_queries,
            "description": "Search queries that do not depend on each other's results.",
        }
        told = (
            "Search a collection of documents. Several queries are searched at once. A document that was shown before "
            "comes without its text."
        )
        parameters = {"type": "object", "properties": {"queries": queries}, "required": ["queries"]}
        return {"type": "function", "function": {"name": self.name, "description": told, "parameters": parameters}}

    def call(self, arguments: str | Mapping[str, Any]) -> str:
        """Answer a model's tool call: JSON in, JSON out; what cannot be read is answered with an error to the model.

        Besides a list of queries, one text is taken, of one query a line; and JSON that was encoded twice.
        """
        try:
            texts = _texts(_loaded(arguments))
        except (ValueError, RecursionError) as error:
            self.ledger.refused += 1
            return json.dumps({"error": f"{error}: call with {{'queries': ['…', '…']}}"}, ensure_ascii=False)
        results = [asdict(found, dict_factory=_for_models) for found in self.search(texts[: self.max_queries])]
        left_out = {"left_out": texts[self.max_queries :]} if len(texts) > self.max_queries else {}
        return json.dumps({"results": results, **left_out}, ensure_ascii=False)

    def _hits(self, ranking: Ranking) -> tuple[Hit, ...]:
        pairs = zip(ranking.ids[: self.k], ranking.scores[: self.k].tolist(), strict=True)
        return tuple(self._hit(id, score) for id, score in pairs)

    def _hit(self, id: str, score: float) -> Hit:
        if id not in self.corpus:
            raise BadInput(f"{self.retriever!r} found document {id!r}, which is not among the {len(self.corpus)} given")
        document, new = self.corpus[id], id not in self.seen
        number = self.seen.setdefault(id, len(self.seen) + 1)
        text = clip(one_line(document.text), self.tokenizer, self.max_tokens) if new else ""
        return Hit(number, id, one_line(document.title), text, score, new, document.metadata)


def _for_models(fields: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in fields if name != "metadata"}


def show(found: Sequence[FoundDocuments]) -> str:
    """Results as text, for models that read them so (Search-R1, 2503.09516).

    Examples:
        >>> first, second = Hit(1, "d1", "Dance", "Bees dance.", 2.5, True), Hit(2, "d2", "", "", 1.0, False)
        >>> print(show([FoundDocuments("bees", (first, second))]))
        Results for: bees
        [1] Dance: Bees dance.
        [2] (shown before)
    """
    return "\n".join(
        line for each in found for line in (f"Results for: {one_line(each.query)}", *map(_line, each.hits))
    )


def _line(hit: Hit) -> str:
    said = ": ".join(filter(None, (hit.title, hit.text))) if hit.new else "(shown before)"
    return f"[{hit.number}] {said}"


def _loaded(given: Any) -> Any:  # noqa: ANN401 (whatever a model wrote)
    """What JSON says, also where it was encoded twice.

    Raises:
        ValueError: it is none.
    """
    found = json.loads(given) if isinstance(given, str) else given
    return json.loads(found) if isinstance(found, str) and found.lstrip().startswith(("{", "[")) else found


def _texts(arguments: Any) -> list[str]:  # noqa: ANN401 (whatever a model wrote)
    """The queries of a tool call.

    Raises:
        ValueError: there are none.
    """
    given = arguments.get("queries", arguments.get("query")) if isinstance(arguments, Mapping) else arguments
    if isinstance(given, str):
        listed = given.lstrip().startswith("[")
        given = json.loads(given) if listed else given.splitlines()
    lines = given
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise ValueError("the queries are no list of texts")
    if not (
        texts := list(filter(None, (" ".join(line.encode("utf-8", "replace").decode().split()) for line in lines)))
    ):
        raise ValueError("there is no query")
    return texts
