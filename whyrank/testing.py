"""The contracts of retrievers, rerankers and language models, as checks that anyone runs on a part of their own.

Each check takes the part, tries it on a small collection that it brings along, and raises `ContractBroken`, which says
what was asked, what came back, and what was promised. They are what whyrank runs on its own parts.

    from whyrank.testing import check_retriever

    def test_mine():
        check_retriever(Mine())
"""

import asyncio
import inspect
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

from whyrank.errors import BadIndex, BadInput, NotFound, WhyrankError
from whyrank.llm.answer import Completion, Failed, Failure, Ok
from whyrank.llm.engine import LLM
from whyrank.llm.messages import Message, Piece, Prompt, Sampling
from whyrank.registry import Part, make, name_of
from whyrank.rerank.base import Reranker
from whyrank.retrieval.base import Retriever
from whyrank.types import Corpus, Dataset, Document, Query, Ranking, Run

DOCUMENTS = (
    Document("bees", "Bees dance in the hive to tell the others where the flowers are.", "The waggle dance"),
    Document("tide", "The moon pulls at the sea, and so the tide rises and falls twice a day."),
    Document("a b", "Birds read the sun and the stars on their way over the open sea."),
    Document("a  b", "Ants follow a trail of scent to the food and back to the nest."),
    Document(" a b", "Salmon smell the river in which they were born.", "Coming home"),
    Document("Grün/7:ü", "Copper turns green in the rain, for a thin layer of salts grows on it."),
    Document("蜂", "Honey keeps for years, since hardly anything can live in so little water."),
    Document("twin-1", "Yeast eats sugar and breathes out gas, and so the loaf rises."),
    Document("twin-2", "Yeast eats sugar and breathes out gas, and so the loaf rises."),
    Document("empty", ""),
    Document("long", "The sea is salt because rivers carry salts into it, and only water leaves. " * 60),
    Document("flowers", "Flowers pay bees with nectar for carrying pollen from one to the next."),
)
"""A collection with what breaks careless code: ids that differ by spaces, an empty text, a long one, two alike."""

QUERIES = (
    Query("q1", "Why do bees dance in the hive?"),
    Query("q 2", "How do birds find their way over the sea?"),
    Query("q3", "what makes dough and the loaf rise: sugar, gas, yeast"),
    Query("q4", "Where do the salts of the sea come from?"),
)

ODD_TEXTS = {
    "no text": "",
    "blanks": " \t\n",
    "stop words": "the of and",
    "no known word": "xyzzyq",
    "the signs of query languages": 'sea AND (bees OR "dance^2~ [1 TO 2] title:* \\ / { + - ! ?',
    "a NUL and an emoji": "bees\0dance 🐝\r\nsea",
    "6,000 words": "bees sea flowers " * 2000,
}


class ContractBroken(WhyrankError, AssertionError):
    """A part does not do what its base class promises; the text says what was asked and what came."""


def check_retriever(
    retriever: Retriever, documents: Sequence[Document] = DOCUMENTS, queries: Sequence[Query] = QUERIES
) -> None:
    """Check that a retriever, built without an index, keeps the promises of `Retriever`.

    Tried are: its spec, an index that leaves the part as it was, cut-offs, exclusions, order and scores, one query
    alone and among others, odd queries and ids, bad input, and, where it can, saving and opening.

    Args:
        retriever: the part, without a path.
        documents: the collection to try it on, for retrievers that need a certain one.
        queries: queries of which each finds something there, without excluded documents.

    Raises:
        ContractBroken: a promise is broken.
    """
    check_spec(retriever)
    spec = repr(retriever)
    ready = retriever.index(iter(documents))
    _must(repr(retriever) == spec and ready is not retriever, f"{spec}: index() must return a copy and change nothing")
    run = ready.search(queries, k=len(documents))
    _check_run(run, documents, queries, spec)
    _check_ids(ready, documents, spec)
    _check_cuts(ready, run, queries, spec)
    _check_exclusion(ready, run, queries, spec)
    _check_only(ready, run, queries, spec)
    for what, text in ODD_TEXTS.items():
        with _unbroken(f"{spec}, a query of {what}"):
            ready.search([Query("odd", text)], k=3)
    fewer = retriever.index(list(documents[:3]))
    _check_run(fewer.search(queries, k=len(documents)), documents[:3], queries, f"{spec}, of the first three documents")
    _must(_same(ready.search(queries, len(documents)), run), f"{spec}: another index() changed what an older one finds")
    _refuses(BadInput, lambda: ready.search(queries, k=0), f"{spec}: search with k=0")
    _refuses(BadInput, lambda: ready.search([queries[0]] * 2), f"{spec}: search with one query id given twice")
    _refuses(BadInput, lambda: retriever.index([]), f"{spec}: index of an empty collection")
    _refuses(BadInput, lambda: retriever.index([documents[0]] * 2), f"{spec}: index with one document id given twice")
    if type(retriever).save is not Retriever.save:
        _check_saving(ready, run, queries, spec)


def check_reranker(reranker: Reranker, *, deterministic: bool = True) -> None:
    """Check that a reranker keeps the promises of `Reranker`: nothing is lost, whatever the model does.

    Args:
        reranker: the part.
        deterministic: whether the same candidates get the same order each time, alone or among other queries.

    Raises:
        ContractBroken: a promise is broken.
    """
    check_spec(reranker)
    spec = repr(reranker)
    sizes = (len(DOCUMENTS), 2, 1, 0)
    banned = DOCUMENTS[1].id
    queries = (replace(QUERIES[0], excluded=frozenset({banned})), *QUERIES[1:])
    data = Dataset("check", Corpus(DOCUMENTS), queries)
    ids = [document.id for document in DOCUMENTS]
    first = Run.of({query.id: _falling(ids[:size]) for query, size in zip(queries, sizes, strict=True)}, name="first")
    final = reranker.rerank(first, data, depth=5)
    _must(list(final) == list(first), f"{spec}: the queries {list(first)} became {list(final)}")
    for query in queries:
        wanted = [id for id in first[query.id].ids if id not in query.excluded]
        found = list(final[query.id].ids)
        where = f"{spec}, query {query.id!r}, depth 5: {wanted} became {found}"
        _must(sorted(found) == sorted(wanted), f"{where}, but nothing may be lost or added, and excluded never returns")
        _must(found[5:] == wanted[5:], f"{where}, but what lies below the depth keeps its place")
    _must(final.name == name_of(type(reranker)), f"{spec}: the run is called {final.name!r}, not by the part's name")
    _check_rank(reranker, spec)
    _refuses(BadInput, lambda: reranker.rerank(first, data, depth=0), f"{spec}: rerank with depth=0")
    unknown = Run.of({queries[0].id: ["nowhere"]})
    _refuses(BadInput, lambda: reranker.rerank(unknown, data), f"{spec}: rerank of a document that is not in the data")
    if deterministic:
        _must(_same(reranker.rerank(first, data, depth=5), final), f"{spec}: a second call gave another order")
        for query in queries:
            alone = reranker.rerank(Run.of({query.id: first[query.id]}), data, depth=5)
            _must(
                alone[query.id].ids == final[query.id].ids,
                f"{spec}, query {query.id!r}: alone it gives {alone[query.id].ids}, among others {final[query.id].ids}",
            )


def check_llm(llm: LLM, *, deterministic: bool = True) -> None:
    """Check that a language model's backend keeps the promises of `LLM`; it asks about a dozen short questions.

    Args:
        llm: the backend; it must be able to answer.
        deterministic: whether greedy decoding gives the same answer twice.

    Raises:
        ContractBroken: a promise is broken.
    """
    check_spec(llm)
    spec = repr(llm)
    _must(
        bool(llm.identity) and isinstance(llm.identity, str), f"{spec}: identity must be a text, not {llm.identity!r}"
    )
    _must(llm.concurrency >= 1 and llm.batch >= 1, f"{spec}: concurrency and batch must be at least 1")
    _must(llm.context is None or llm.context > 0, f"{spec}: context must be None or above 0, not {llm.context}")
    prompts = [
        _prompt("Say yes."),
        _prompt("Why do bees dance? 🐝 Grüße"),
        _prompt("Count to a hundred.", system="Be brief."),
    ]

    async def ask() -> list[Sequence[Completion]]:
        try:
            return [await llm.agenerate(each) for each in (prompts, prompts[:1], [])]
        finally:
            await llm.aclose()

    with _unbroken(f"{spec}, asked {len(prompts)} short questions (a failure is returned as Failed, not raised)"):
        many, one, none = asyncio.run(ask())
    _must(list(none) == [], f"{spec}: no prompts gave {len(none)} completions")
    for prompt, completion in zip([*prompts, prompts[0]], [*many, *one], strict=True):
        _check_completion(prompt, completion, spec)
    with _unbroken(f"{spec}, asked from a second event loop, after aclose()"):
        again = llm.generate(prompts[:1])
    if deterministic:
        texts = [completion.text for completion in (*one, *again) if isinstance(completion, Ok)]
        _must(len(set(texts)) <= 1, f"{spec}: greedy decoding gave different answers: {texts}")
    if llm.context is not None and llm.context <= 8192:
        with _unbroken(f"{spec}, a prompt longer than its context of {llm.context} tokens"):
            (long,) = llm.generate([_prompt("bees " * 2 * llm.context)])
        _must(isinstance(long, Ok | Failed), f"{spec}: a prompt longer than the context gave {long!r}")
    if (tokenizer := llm.tokenizer()) is not None:
        text = "Why do bees dance?"
        round_trip = tokenizer.decode(tokenizer.encode(text))
        _must(round_trip.strip() == text, f"{spec}: its tokenizer turns {text!r} into {round_trip!r}")


def check_spec(part: Part) -> None:
    """Check that `make(repr(part)) == part`; a class that cannot be imported by its path, as in a notebook, is let be.

    Raises:
        ContractBroken: the spec builds another part, or none.
    """
    kind = type(part)
    if getattr(sys.modules.get(kind.__module__), kind.__qualname__, None) is not kind:
        return
    spec = repr(part)
    with _unbroken(f"make({spec!r})"):
        built: Part = make(spec)
    _must(built == part, f"make({spec!r}) gives {built!r}, which is not equal to the part itself")


def _check_run(run: Run, documents: Sequence[Document], queries: Sequence[Query], spec: str) -> None:
    known = {document.id for document in documents}
    _must(
        list(run) == [query.id for query in queries], f"{spec}: searched {[q.id for q in queries]}, found {list(run)}"
    )
    for id, (ids, _) in run.items():
        _must(len(ids) > 0, f"{spec}, query {id!r}: nothing found")
        stray = [doc for doc in ids if doc not in known]
        _must(not stray, f"{spec}, query {id!r}: found {stray}, which are not among the ids of the collection")


def _check_ids(ready: Retriever, documents: Sequence[Document], spec: str) -> None:
    said = [document for document in documents if document.content]
    run = ready.search([Query(f"own text {at}", document.content) for at, document in enumerate(said)], len(documents))
    for document, (ids, _) in zip(said, run.values(), strict=True):
        _must(document.id in ids, f"{spec}: asked for the text of document {document.id!r} it finds {ids}")


def _check_cuts(ready: Retriever, run: Run, queries: Sequence[Query], spec: str) -> None:
    for k in (1, 2, 10**6):
        cut = ready.search(queries, k)
        _must(
            _same(cut, run.top(k)),
            f"{spec}: search with k={k} gives another order than the first {k} of a longer search",
        )
    for query in queries:
        alone, among = ready.search([query], k=10**6)[query.id].ids, run[query.id].ids
        _must(list(alone) == list(among), f"{spec}, query {query.id!r}: alone it finds {alone}, among others {among}")
    _must(len(ready.search([], k=3)) == 0, f"{spec}: no queries must give an empty run")


def _check_exclusion(ready: Retriever, run: Run, queries: Sequence[Query], spec: str) -> None:
    asked = [replace(query, excluded=frozenset([*run[query.id].ids[:2], "nowhere"])) for query in queries[:-1]]
    found, deep = (ready.search([*asked, queries[-1]], k) for k in (1, 10**6))
    for query in (*asked, queries[-1]):  # what is excluded may change the order of the rest: it gives no feedback
        wanted = [id for id in deep[query.id].ids if id not in query.excluded][:1]
        _must(
            list(found[query.id].ids) == wanted,
            f"{spec}, query {query.id!r}, k=1, without {sorted(query.excluded)}: found {found[query.id].ids}, "
            f"not {wanted}; excluded documents go before the cut at k",
        )


def _check_only(ready: Retriever, run: Run, queries: Sequence[Query], spec: str) -> None:
    for query in queries:
        last = frozenset([*run[query.id].ids[-2:], "nowhere"])
        for asked in (replace(query, only=last), replace(query, only=last, excluded=frozenset(run[query.id].ids[-1:]))):
            found, deep = (list(ready.search([asked], k)[query.id].ids) for k in (1, 10**6))
            wanted = [id for id in deep if asked.allows(id)][:1]
            _must(
                found == wanted and all(map(asked.allows, deep)),
                f"{spec}, query {query.id!r}, k=1, only {sorted(last)}: found {found}, not {wanted} of {deep}; what a "
                "query does not allow goes before the cut at k",
            )


def _check_saving(ready: Retriever, run: Run, queries: Sequence[Query], spec: str) -> None:
    with tempfile.TemporaryDirectory(prefix="whyrank-check-") as folder:
        place, empty = Path(folder, "index with a space"), Path(folder, "empty")
        empty.mkdir()
        ready.save(place)
        opens: Callable[..., Retriever] = partial(type(ready).open, **_model_of(ready))
        opened = opens(place)
        _must(_same(opened.search(queries, k=10**6), run), f"{spec}: saved and opened again it finds something else")
        for path in (empty, Path(folder, "nowhere")):
            _refuses((BadIndex, NotFound), partial(opens, path), f"{spec}: open({path.name!r})")


def _model_of(ready: Retriever) -> dict[str, Any]:
    """What `open` wants beside the folder: the model, which no folder chooses."""
    wanted = inspect.signature(type(ready).open).parameters
    return {name: getattr(ready, name) for name in ("model", "llm", "encoder") if name in wanted}


def _check_rank(reranker: Reranker, spec: str) -> None:
    texts = [document.text for document in DOCUMENTS[:4]]
    ranked = reranker.rank(QUERIES[0].text, texts)
    _must(sorted(item.index for item in ranked) == list(range(4)), f"{spec}: rank() of 4 texts gave {list(ranked)}")
    _must(all(item.text == texts[item.index] for item in ranked), f"{spec}: rank() gave a text under another's index")
    _must(len(reranker.rank("bees", [])) == 0, f"{spec}: rank() of no texts must give an empty list")
    for what, text in ODD_TEXTS.items():
        with _unbroken(f"{spec}, rank() with a query of {what}"):
            _must(len(reranker.rank(text, ["bees", ""])) == 2, f"{spec}: a query of {what} loses documents")


def _check_completion(prompt: Prompt, completion: Completion, spec: str) -> None:
    if isinstance(completion, Failed):
        _must(
            completion.kind in get_args(Failure),
            f"{spec}: Failed.kind is {completion.kind!r}, not one of {get_args(Failure)}",
        )
        raise ContractBroken(f"{spec} did not answer a short question: {completion}")
    _must(isinstance(completion, Ok), f"{spec}: a completion is {completion!r}, neither Ok nor Failed")
    _must(isinstance(completion.text, str) and isinstance(completion.reasoning, str), f"{spec}: text is no str")
    _must("</think>" not in completion.text, f"{spec}: the answer still holds the thought: {completion.text!r}")
    _must(
        completion.finish in {"stop", "length"}, f"{spec}: finish is {completion.finish!r}, neither 'stop' nor 'length'"
    )
    usage, bound = completion.usage, prompt.sampling.max_tokens
    _must(0 <= usage.output <= bound, f"{spec}: {usage.output} new tokens, with max_tokens={bound}")
    _must(
        usage.reasoning <= usage.output and usage.cached <= usage.input,
        f"{spec}: a part is larger than its whole: {usage}",
    )


def _prompt(text: str, system: str = "") -> Prompt:
    turns = [Message("system", (Piece(system),))] if system else []
    return Prompt((*turns, Message("user", (Piece(text, cut="document"),))), Sampling(max_tokens=16))


def _falling(ids: Sequence[str]) -> Ranking:
    return Run.of({"q": list(ids)})["q"]


def _same(one: Run, other: Run) -> bool:
    return list(one) == list(other) and all(list(one[id].ids) == list(other[id].ids) for id in one)


def _must(kept: bool, message: str) -> None:
    if not kept:
        raise ContractBroken(message)


@contextmanager
def _unbroken(what: str) -> Iterator[None]:
    try:
        yield
    except ContractBroken:
        raise
    except Exception as error:
        raise ContractBroken(f"{what}: raised {type(error).__name__}: {error}") from error


def _refuses(kind: type[Exception] | tuple[type[Exception], ...], call: Callable[[], object], what: str) -> None:
    names = " or ".join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))
    try:
        call()
    except kind:
        return
    except Exception as error:
        raise ContractBroken(f"{what} raised {type(error).__name__}, where {names} is promised: {error}") from error
    raise ContractBroken(f"{what} was accepted, where {names} is promised")
