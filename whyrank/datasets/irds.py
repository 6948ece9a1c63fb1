"""Data sets that ir_datasets (extra `data`) knows how to fetch (MacAvaney et al., 2021)."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from whyrank.datasets.family import offline
from whyrank.datasets.lazy import LazyCorpus
from whyrank.errors import BadInput, MissingExtra, NotFound, need
from whyrank.types import Corpus, Dataset, Document, Qrels, Query

Absent = Callable[[str | Exception], NotFound]
"""Makes the error that says what to put where, from the reason why it could not be fetched."""


def fetch(ids: tuple[str, ...], absent: Absent) -> Dataset:
    """Queries and judgements of the first of `ids` that is in ir_datasets' catalogue; the documents on first use.

    Raises:
        NotFound: they cannot be fetched, or ir_datasets is not installed.
        BadInput: none of `ids` is in the catalogue.
    """
    try:
        catalogue = need("ir_datasets", extra="data", asked_by="fetching").registry
    except MissingExtra as error:
        raise absent(str(error)) from None
    known = [id for id in ids if id in catalogue and catalogue[id].has_qrels()]
    if not known:
        raise BadInput(f"ir_datasets has no {' and no '.join(map(repr, ids))} with judgements: choose another split")
    source = catalogue[known[0]]
    grades: dict[str, dict[str, int]] = {}
    for judgement in _try(source.qrels_iter, absent):
        grades.setdefault(judgement.query_id, {})[judgement.doc_id] = int(judgement.relevance)
    queries = (Query(query.query_id, query.text) for query in _try(source.queries_iter, absent))
    return Dataset(
        name=known[0],
        corpus=LazyCorpus(partial(_documents, source, absent)),
        queries=tuple(query for query in queries if query.id in grades),
        qrels=Qrels(grades),
    )


def _documents(source: Any, absent: Absent) -> Corpus:  # noqa: ANN401 (ir_datasets has no types)
    return Corpus(Document(doc.doc_id, doc.text, getattr(doc, "title", "")) for doc in _try(source.docs_iter, absent))


def _try(records: Callable[[], Iterator[Any]], absent: Absent) -> Iterator[Any]:
    if offline():
        raise absent("HF_HUB_OFFLINE is set")
    try:
        yield from records()
    except (OSError, RuntimeError) as error:
        raise absent(error) from error
