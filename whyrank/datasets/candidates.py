"""Candidate lists with text, as rank_llm exchanges them: one record for each query, its passages best first.

    [{"query": "…", "hits": [{"qid": "7", "docid": "d1", "content": "…", "rank": 1, "score": 9.1}, …]}, …]
    {"query": {"qid": "7", "text": "…"}, "candidates": [{"docid": "d1", "score": 9.1, "doc": {"contents": "…"}}, …]}

Either form, as one JSON array or as JSON lines.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from whyrank.datasets.folder import judged_only
from whyrank.datasets.records import records
from whyrank.errors import BadInput
from whyrank.io import read_qrels
from whyrank.types import Corpus, Dataset, Document, Qrels, Query, Ranking, Run

TEXT_FIELDS = ("text", "segment", "contents", "content", "body", "passage")


def read_candidates(path: Path, qrels: Path | None = None) -> Dataset:
    """Read a candidate file: its queries, its passages as the collection, and its order as the candidates.

    Args:
        path: the file, `.json` or `.jsonl`, also `.gz`.
        qrels: the judgements; queries that they do not judge are left out. Without any, all queries stay.

    Raises:
        BadInput: a record is damaged (file and line or record number are told), a query occurs twice, or a document
            id stands for two texts.
    """
    queries: dict[str, Query] = {}
    documents: dict[str, Document] = {}
    rankings: dict[str, Ranking] = {}
    for where, record in records(path):
        try:
            query, hits = _hits(record)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise BadInput(f"{where}: no query with candidates ({type(error).__name__}: {error})") from None
        if queries.setdefault(query.id, query) is not query:
            raise BadInput(f"{where}: query {query.id!r} occurs twice")
        for document, _ in hits:
            if documents.setdefault(document.id, document) != document:
                raise BadInput(f"{where}: document {document.id!r} stands for two different texts")
        rankings[query.id] = _ranking(hits)
    judged = read_qrels(qrels) if qrels else None
    return Dataset(
        name=str(path),
        corpus=Corpus(documents.values()),
        queries=tuple(queries.values()) if judged is None else judged_only(queries.values(), judged),
        qrels=judged or Qrels({}),
        candidates=Run.of(rankings, name=path.name.partition(".")[0]),
    )


def qrels_beside(path: Path, split: str | None = None) -> Path | None:
    """The judgements in the folder of a candidate file: for `dl19.bm25.json`, `qrels.dl19.txt`, else `qrels.txt`.

    Args:
        path: the candidate file.
        split: take `qrels/<split>.tsv` instead.

    Raises:
        BadInput: there are no judgements for `split`.
    """
    stem = path.name.partition(".")[0]
    named = (f"qrels.{stem}.txt", f"{stem}.qrels", "qrels.txt", "qrels/test.tsv")
    names = (f"qrels/{split}.tsv",) if split else named
    found = next((place for name in names if (place := path.parent / name).is_file()), None)
    if split and not found:
        raise BadInput(f"{path} has no split {split!r}: there is no {path.parent / names[0]}")
    return found


def _hits(record: Mapping[str, Any]) -> tuple[Query, list[tuple[Document, float]]]:
    """One record's query, and its passages with their scores."""
    if "candidates" in record:
        asked = record["query"]
        hits = [(_document(str(hit["docid"]), hit["doc"]), float(hit["score"])) for hit in record["candidates"]]
        return Query(str(asked["qid"]), asked["text"]), hits
    hits = [(Document(str(hit["docid"]), hit["content"]), float(hit["score"])) for hit in record["hits"]]
    return Query(str(record["hits"][0]["qid"]), record["query"]), hits


def _document(id: str, fields: Mapping[str, Any] | str) -> Document:
    if isinstance(fields, str):
        return Document(id, fields)
    text = next((fields[name] for name in TEXT_FIELDS if fields.get(name)), None)
    if text is None:
        raise ValueError(f"document {id!r} has none of the fields {', '.join(TEXT_FIELDS)}")
    return Document(id, text, fields.get("title") or "")


def _ranking(hits: list[tuple[Document, float]]) -> Ranking:
    """The passages in the order given; scores that rise say nothing and are replaced by n, n-1, … 1."""
    ids, scores = [document.id for document, _ in hits], np.array([score for _, score in hits], dtype=np.float64)
    falls = bool(np.all(scores[1:] <= scores[:-1]))
    return Ranking(ids, scores if falls else np.arange(len(ids), 0, -1, dtype=np.float64))
