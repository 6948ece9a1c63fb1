"""Candidate lists with text, as rank_llm exchanges them: one record for each query, its passages best first.

    {"query": {"qid": "7", "text": "…"}, "candidates": [{"docid": "d1", "score": 9.1, "doc": {"contents": "…"}}, …]}
    {"query": "…", "hits": [{"qid": "7", "docid": "d1", "content": "…", "rank": 1, "score": 9.1}, …]}

The first form is that of its requests and of its results; the second is RankGPT's, which its older files have. Both are
read, as JSON lines or as one JSON array; the first is written.
"""

import json
import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from whyrank.errors import BadInput
from whyrank.io.files import atomic_write, place, stem, suffix
from whyrank.io.records import records
from whyrank.io.texts import metadata_of, metadata_record
from whyrank.types import Corpus, Dataset, Document, Query, Ranking, Run

TEXT_FIELDS = ("text", "segment", "contents", "content", "body", "passage")
_TOLD = frozenset({"title", *TEXT_FIELDS})


def read_candidates(path: str | Path) -> Dataset:
    """Read a candidate file: its queries, its passages as the collection, and its order as the candidates.

    Scores that rise say nothing beside the order, and are replaced by n, n-1, … 1.

    Args:
        path: the file, `.json` or `.jsonl`, also `.gz`.

    Raises:
        NotFound: no such file.
        BadInput: a record is damaged (file and line, or record number, are told), a query occurs twice, a document
            is ranked twice, or its id stands for two texts.
    """
    path = place(path)
    queries: dict[str, Query] = {}
    documents: dict[str, Document] = {}
    rankings: dict[str, Ranking] = {}
    for where, record in records(path):
        try:
            query, hits = _hits(record)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            raise BadInput(f"{where}: no query with candidates ({type(error).__name__}: {error})") from None
        if queries.setdefault(query.id, query) is not query:
            raise BadInput(f"{where}: query {query.id!r} occurs twice")
        for document, _ in hits:
            if not _same(documents.setdefault(document.id, document), document):
                raise BadInput(f"{where}: document {document.id!r} stands for two different texts")
        rankings[query.id] = _ranking(hits, where)
    if not queries:
        raise BadInput(f"{path}: the file has no queries")
    run = Run.of(rankings, name=stem(path))
    return Dataset(str(path), Corpus(documents.values()), tuple(queries.values()), candidates=run)


def write_candidates(run: Run, data: Dataset, path: str | Path, k: int | None = None, *, exact: bool = False) -> None:
    """Write a run with its texts as candidates: `.jsonl` for one record a line, `.json` for one array; also `.gz`.

    The scores written are `run.strict_scores`, as `write_run` writes them. What queries exclude is not written.

    Args:
        run: the rankings.
        data: where the texts of queries and documents are taken from.
        path: the file.
        k: how many documents of each query; None is all.
        exact: write the scores as they are.

    Raises:
        BadInput: another ending, or `data` lacks a query or a document of the run.
    """
    ending, queries = suffix(path), {query.id: query for query in data.queries}
    if ending not in (".json", ".jsonl"):
        raise BadInput(f"{path}: a file of candidates ends in .jsonl or .json (or .jsonl.gz, .json.gz)")
    texts = run.scores if exact else run.strict_scores.astype(np.dtypes.StringDType())
    with atomic_write(path) as file:
        before = "[\n" if ending == ".json" else ""
        for (id, (ids, _)), (start, end) in zip(run.items(), pairwise(run.offsets.tolist()), strict=True):
            if id not in queries:
                raise BadInput(f"run {run.name!r}: query {id!r} is not among the queries of {data.name!r}")
            scores = map(float, texts[start:end].tolist())
            hits = [_hit(doc, score, run, data) for doc, score in zip(ids[:k], scores, strict=False)]
            record = {"query": {"qid": id, "text": queries[id].text}, "candidates": hits}
            file.write(f"{before}{json.dumps(record, ensure_ascii=False)}".encode("utf-8", "backslashreplace"))
            before = ",\n" if ending == ".json" else "\n"
        file.write(b"\n]\n" if ending == ".json" and len(run) else b"[]\n" if ending == ".json" else b"\n")


def _hit(id: str, score: float, run: Run, data: Dataset) -> dict[str, Any]:
    if id not in data.corpus:
        raise BadInput(f"run {run.name!r}: document {id!r} is not among the {len(data.corpus)} of {data.name!r}")
    document = data.corpus[id]
    title = {"title": document.title} if document.title else {}
    return {"docid": id, "score": score, "doc": {**title, "text": document.text, **metadata_record(document)}}


def _hits(record: Mapping[str, Any]) -> tuple[Query, list[tuple[Document, float]]]:
    """One record's query, and its passages with their scores."""
    if "candidates" in record:
        asked = record["query"]
        hits = [(_document(_id(hit["docid"]), hit["doc"]), _score(hit["score"])) for hit in record["candidates"]]
        return Query(_id(asked["qid"]), _text(asked["text"])), hits
    hits = [(Document(_id(hit["docid"]), _text(hit["content"])), _score(hit["score"])) for hit in record["hits"]]
    return Query(_id(record["hits"][0]["qid"]), _text(record["query"])), hits


def _same(one: Document, other: Document) -> bool:
    """Whether they say the same; what else is known may be of the query, such as a rank."""
    return (one.title, one.text) == (other.title, other.text)


def _document(id: str, fields: Mapping[str, Any] | str) -> Document:
    if isinstance(fields, str):
        return Document(id, _text(fields))
    if not isinstance(fields, Mapping):
        raise ValueError(f"document {id!r} must be an object with a text, not {fields!r:.60}")
    given = [fields[name] for name in TEXT_FIELDS if isinstance(fields.get(name), str)]
    if not given:
        raise ValueError(f"document {id!r} has none of the fields {', '.join(TEXT_FIELDS)}")
    title = _text(fields.get("title") or "")
    return Document(id, _text(next(filter(None, given), "")), title, metadata=metadata_of(fields, _TOLD))


def _id(given: object) -> str:
    if type(given) is not int and not (isinstance(given, str) and given):
        raise ValueError(f"an id must be a text or a whole number, not {given!r}")
    return _text(str(given))


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise ValueError(f"a text is wanted, not {given!r:.60}")
    given.encode()  # half of a surrogate pair is no text
    return given


def _score(given: object) -> float:
    if type(given) not in (int, float) or not math.isfinite(score := float(given)):  # type: ignore[arg-type]
        raise ValueError(f"a score must be a finite number, not {given!r:.40}")
    return score


def _ranking(hits: list[tuple[Document, float]], where: str) -> Ranking:
    ids, scores = [document.id for document, _ in hits], np.array([score for _, score in hits], dtype=np.float64)
    if len(set(ids)) < len(ids):
        twice = next(id for at, id in enumerate(ids) if id in ids[:at])
        raise BadInput(f"{where}: document {twice!r} is ranked twice")
    falls = bool(np.all(scores[1:] <= scores[:-1]))
    return Ranking(ids, scores if falls else np.arange(len(ids), 0, -1, dtype=np.float64))
