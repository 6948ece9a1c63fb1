"""Search over an index in shards: each shard is built by itself, anywhere, and together they rank as one index."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import reduce
from itertools import chain, islice
from pathlib import Path

from whyrank.errors import BadIndex, BadInput, BadSpec, NotFound
from whyrank.fields import Positive
from whyrank.llm.trace import Trace
from whyrank.registry import name_of
from whyrank.retrieval.base import FolderPath, Retriever, new_folder
from whyrank.retrieval.metadata import Known, merged
from whyrank.types import Document, Query, Ranking, Run, joined

_NUMBER = re.compile("0|[1-9][0-9]{0,8}")


@dataclass(frozen=True)
class Sharded(Retriever):
    """The collection in shards, searched one after the other; scores and order are those of one index of it all.

    The order of a collection is that of shard 0, then shard 1, and so on. `index` cuts a collection into shards; or
    each is built by itself, in any process or on any machine, with the same retriever: `bm25('idx/3').index(part)`
    makes shard 3 of `sharded(bm25(), 'idx')`. What BM25 must know of the whole collection (how many documents, how
    long, how many hold each term) is summed over the shards before the first search.

    Attributes:
        retriever: what searches a shard, such as `bm25()`, `bm25q()` or `dense(model)`, without a path.
        path: the folder of the shards, which lie in `0`, `1`, …; without one they stay in memory.
        size: how many documents `index` puts into a shard.

    Examples:
        >>> from whyrank.retrieval.lexical.bm25 import BM25
        >>> documents = [Document("d1", "Bees dance."), Document("d2", "Ants leave trails."), Document("d3", "A bee.")]
        >>> list(Sharded(BM25(), size=2).index(documents).search([Query("q", "bees")])["q"].ids)
        ['d3', 'd1']
    """

    retriever: Retriever
    path: FolderPath = None
    size: Positive = 1 << 20
    _shards: Sequence[Retriever] | None = field(default=None, init=False, repr=False, compare=False)

    filters = True

    def __post_init__(self) -> None:
        """Refuse a retriever that has its index elsewhere."""
        if "path" not in {each.name for each in fields(self.retriever)} or isinstance(self.retriever, Sharded):
            raise BadSpec(f"sharded(...) needs a retriever with an index of its own, which {self.retriever!r} has not")
        if (path := getattr(self.retriever, "path", None)) is not None:
            raise BadSpec(f"sharded(...) gives its shards their paths: leave out the path {path!r} of the retriever")

    def _index(self, corpus: Iterable[Document]) -> None:
        shards = None
        if self.path is None:
            shards = type(self.retriever)._as_shards([self.retriever.index(part) for part in self._cut(corpus)])
        else:
            with new_folder(Path(self.path)) as folder:
                for number, part in enumerate(self._cut(corpus)):
                    self.retriever.at(folder / str(number)).index(part)
        object.__setattr__(self, "_shards", shards)

    def _cut(self, corpus: Iterable[Document]) -> Iterator[Iterator[Document]]:
        """The collection in parts that must be read in turn."""
        documents = iter(corpus)
        for first in documents:
            yield chain([first], islice(documents, self.size - 1))

    def _opened(self) -> Sequence[Retriever]:
        if self._shards is None:
            if self.path is None:
                raise BadInput(f"{self!r} has no index yet: call index(corpus), or give the path of saved shards")
            shards = [self.retriever.at(folder) for folder in _folders(Path(self.path))]
            object.__setattr__(self, "_shards", type(self.retriever)._as_shards(shards))
        return self._shards or ()

    def _collection(self) -> tuple[str, Iterable[str]]:
        known, ids = zip(*(shard._collection() for shard in self._opened()), strict=True)
        return reduce(joined, known), chain.from_iterable(ids)

    def _recalled(self) -> Known | None:
        return merged(shard._noted() for shard in self._opened())

    def _run(self, queries: Sequence[Query], k: int, trace: Trace | None) -> Run:
        run = type(self.retriever)._run_shards(self._opened(), queries, k, trace)
        return run.named(name_of(type(self)))

    def _search(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        return list(self._run(queries, k, None).values())


def _folders(path: Path) -> list[Path]:
    """The folders of the shards, in order."""
    if not path.is_dir():
        raise NotFound(f"no shards at {path}: there is no such folder")
    found = {
        int(folder.name): folder for folder in path.iterdir() if folder.is_dir() and _NUMBER.fullmatch(folder.name)
    }
    missing = next((number for number in range(len(found)) if number not in found), None)
    if missing is not None or not found:
        raise BadIndex(f"{path} has no shard {missing or 0}: shards lie in the folders 0, 1, 2, … without a gap")
    return [found[number] for number in range(len(found))]
