"""Rewrites that lie in a file: published ones, or those of another program."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from whyrank.errors import BadInput, NotFound
from whyrank.llm.trace import Trace
from whyrank.retrieval.rewrite.base import Find, Rewriter, Rewriting
from whyrank.types import Query


@dataclass(frozen=True)
class FromFile(Rewriter):
    """Take rewrites from a JSON file: an object that gives a text, or a list of texts, for each query.

    Keys are the original texts of queries, as in the published rewrites of TongSearch-QR, or their ids; a text is
    looked for first. Query ids of BRIGHT's tasks overlap: a file for several tasks needs texts as keys. A query that is
    not there, or has a blank text there, is searched as it is, and `outcomes` counts it as `fell_back`.

    Attributes:
        path: the file.
    """

    path: str

    reads: ClassVar[bool] = False

    def load(self) -> dict[str, tuple[str, ...]]:
        """What the file gives, by key.

        Raises:
            NotFound: there is no such file.
            BadInput: it is no JSON object of texts and lists of texts.
        """
        try:
            given = json.loads(self._bytes())
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{self.path}: rewrites must be JSON: {error}") from None
        if not isinstance(given, dict):
            raise BadInput(f"{self.path}: expected an object {{query text or id: rewritten text}}, found {given!r:.80}")
        return {key: _texts(value, f"{self.path}, key {key!r:.80}") for key, value in given.items()}

    def sha256(self) -> str:
        """The hash of the file, for manifests.

        Raises:
            NotFound: there is no such file.
        """
        return hashlib.sha256(self._bytes()).hexdigest()

    def refuse_foreign(self, queries: Sequence[Query]) -> None:
        """Refuse a file that is of other queries.

        Raises:
            BadInput: no key is the text or the id of any of `queries`, or as for `load`.
        """
        given = self.load()
        if queries and not any(query.text in given or query.id in given for query in queries):
            raise BadInput(
                f"{self.path}: none of its {len(given)} keys is the text or the id of a query: it has "
                f"{next(iter(given), 'none')!r:.80}, the queries have {queries[0].id!r}: give the rewrites of this data"
            )

    def _rewrite(self, queries: Sequence[Query], find: Find, trace: Trace | None) -> Mapping[str, Rewriting]:
        given = self.load()
        return {query.id: Rewriting(given.get(query.text, given.get(query.id, ()))) for query in queries}

    def _bytes(self) -> bytes:
        if not Path(self.path).is_file():
            raise NotFound(f"no file of rewrites at {self.path}")
        return Path(self.path).read_bytes()


def _texts(value: object, where: str) -> tuple[str, ...]:
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise BadInput(f"{where}: expected a text or a list of texts, found {value!r:.80}")
    return tuple(texts)
