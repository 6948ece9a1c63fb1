"""PyTerrier: our retrievers and rerankers as transformers, and its pipelines as our retrievers. No Java is needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import pandas as pd
import pyterrier as pt

from whyrank.errors import BadInput
from whyrank.integrations.common import Ranker, Searcher, ranker, searcher
from whyrank.rerank.base import Reranker
from whyrank.retrieval.base import Retriever
from whyrank.types import Corpus, Dataset, Query, Ranking


class WhyrankRetriever(pt.Transformer):
    """`qid, query` in; `docno, text, title, score, rank` beside them out. Scores lie in [0, 1] and fall strictly."""

    def __init__(self, searcher: Searcher, num_results: int = 100) -> None:
        """Search by `searcher`, `num_results` documents for each query."""
        self.searcher, self.num_results = searcher, num_results

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """What was found for each query."""
        pt.validate.query_frame(inp, extra_columns=["query"])
        rows = [
            {**given, "docno": doc.id, "text": doc.text, "title": doc.title, "score": one.score}
            for given in inp.to_dict("records")
            for one in self.searcher.search(given["query"], self.num_results)
            if (doc := one.document) is not None
        ]
        return _ranked(rows, [*inp.columns, "docno", "text", "title", "score"])

    def schematic(self, *, input_columns: list[str] | None = None) -> dict[str, Any]:
        """How it is drawn."""
        return {"label": "whyrank retriever", "help_url": HELP}


class WhyrankReranker(pt.Transformer):
    """`qid, query, docno, text` in; the same rows with new `score` and `rank`, and `reason`, out."""

    def __init__(self, ranker: Ranker, text_field: str = "text") -> None:
        """Rerank by `ranker`, reading `text_field`."""
        self.ranker, self.text_field = ranker, text_field

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """The rows of each query in their new order; what came in is ranked by `rank` or `score`, or as it stands."""
        pt.validate.result_frame(inp, extra_columns=["query", self.text_field])
        first = [column for column in ("rank", "score") if column in inp.columns][:1]
        given = inp.sort_values(first, ascending=first == ["rank"], kind="stable") if first else inp
        rows: list[dict[str, Any]] = []
        for _, group in given.groupby("qid", sort=False):
            records = group.to_dict("records")
            for one in self.ranker.rank(records[0]["query"], [str(row[self.text_field]) for row in records]):
                rows.append({**records[one.index], "score": one.score, "reason": one.reason})
        columns = [column for column in inp.columns if column not in {"score", "rank", "reason"}]
        return _ranked(rows, [*columns, "score", "reason"])

    def schematic(self, *, input_columns: list[str] | None = None) -> dict[str, Any]:
        """How it is drawn."""
        return {"label": "whyrank reranker", "help_url": HELP}


HELP = "https://whyrank.github.io/whyrank/frameworks/"


@overload
def as_pyterrier(part: Reranker) -> WhyrankReranker: ...
@overload
def as_pyterrier(part: Retriever, data: str | Corpus | Dataset, num_results: int = 100) -> WhyrankRetriever: ...
def as_pyterrier(
    part: Retriever | Reranker, data: str | Corpus | Dataset | None = None, num_results: int = 100
) -> WhyrankRetriever | WhyrankReranker:
    """Make a transformer of a retriever and its collection, or of a reranker; they are joined by `>>`.

    Raises:
        BadInput: a retriever has nothing to search.
    """
    if isinstance(part, Reranker):
        return WhyrankReranker(ranker(part))
    if data is None:
        raise BadInput("a retriever needs a collection to search: as_pyterrier(BM25(), data)")
    return WhyrankRetriever(searcher(part, data), num_results)


@dataclass(frozen=True)
class PyTerrierRetriever(Retriever):
    """A PyTerrier pipeline as our retriever: what it finds for `qid, query` are `docno` and `score`.

    A pipeline cannot stand in a spec. The index is the pipeline's: what is indexed here has no effect.

    Attributes:
        pipeline: any transformer from queries to results.
    """

    pipeline: Any

    def _search(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        asked = pd.DataFrame({"qid": [query.id for query in queries], "query": [query.text for query in queries]})
        found = self.pipeline.transform(asked)
        rankings = []
        for query in queries:
            mine = found[found["qid"] == query.id].sort_values("score", ascending=False, kind="stable").head(k)
            scores = np.asarray(mine["score"], dtype=np.float64)
            rankings.append(Ranking([str(id) for id in mine["docno"]], scores))
        return rankings


def _ranked(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """The rows as a frame, with ranks; a frame with all its columns where there are none."""
    frame = pd.DataFrame(rows, columns=list(dict.fromkeys(columns)))
    return pt.model.add_ranks(frame.astype({"score": "float64"}))
