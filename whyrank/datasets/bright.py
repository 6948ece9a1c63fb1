"""BRIGHT (Su et al., 2025): `bright/<task>`, and `bright/<task>/long` for its long documents.

From a local root, else from the Hugging Face hub at a pinned revision. Judgements are the benchmark's own `gold_ids`,
all of grade 1, and `excluded_ids` become `Query.excluded`. Documents are read, or fetched, on first use only.
"""

import ast
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from whyrank.datasets.family import Family, roots
from whyrank.datasets.lazy import LazyCorpus
from whyrank.errors import BadInput, MissingExtra, need
from whyrank.io.records import records
from whyrank.types import Corpus, Dataset, Document, Qrels, Query

HUB = "xlangai/BRIGHT"
REVISION = "3066d29c9651a576c8aba4832d249807b181ecae"
"""The hub's state with 1,384 queries, of which TheoremQA has 194 and 76; earlier ones have other queries."""

STACK_EXCHANGE = (
    *("biology", "earth_science", "economics", "psychology", "robotics", "stackoverflow", "sustainable_living"),
)
TASKS = (*STACK_EXCHANGE, "leetcode", "pony", "aops", "theoremqa_questions", "theoremqa_theorems")
LONG_TASKS = (*STACK_EXCHANGE, "pony")


class Bright(Family):
    """The twelve tasks of BRIGHT, eight of them also with long documents."""

    name = "bright"
    members = (*TASKS, *(f"{task}/long" for task in LONG_TASKS))

    def _present(self, folder: Path) -> Iterator[str]:
        return (member for member in self.members if _local(folder / "examples", member))

    def judged_only(self) -> set[str]:
        """Tasks of which the queries are here and the documents are not."""
        return {self.title(member) for member in self.members if self._part("examples", member)} - {
            self.title(member)
            for member in self.members
            if self._part("long_documents" if member.endswith("/long") else "documents", member)
        }

    def _read(self, folder: Path, member: str, split: str | None) -> Dataset:
        return self._fetch(member, split)

    def _fetch(self, member: str, split: str | None) -> Dataset:
        long = member.endswith("/long")
        queries, qrels = _examples(self._file(member, "examples"), "gold_ids_long" if long else "gold_ids")
        corpus = LazyCorpus(partial(self._documents, member, "long_documents" if long else "documents"))
        return Dataset(name=self.title(member), corpus=corpus, queries=queries, qrels=qrels)

    def _documents(self, member: str, part: str) -> Corpus:
        return _corpus(self._file(member, part))

    def _file(self, member: str, part: str) -> Path:
        """The file of one part of the hub's repository: from the first root that has it, else from the hub."""
        return self._part(part, member) or self._download(member, part)

    def _part(self, part: str, member: str) -> Path | None:
        """The file of one part in the first root that has it."""
        here = (_local(root / self.name / part, member) for root in roots())
        return next((path for path in here if path), None)

    def _download(self, member: str, part: str) -> Path:
        task = member.partition("/")[0]
        file = f"{part}/{task}-00000-of-00001.parquet"
        layout = f"the hub's {HUB}/{file}, or {part}/{task}.jsonl, into {self.name}/"
        missing = partial(self.absent, member, part=part.replace("_", " "), layout=layout)
        try:
            hub = need("huggingface_hub", extra="data", asked_by="fetching")
            logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # without a network it tells of every retry
            return Path(hub.hf_hub_download(HUB, file, repo_type="dataset", revision=REVISION))
        except MissingExtra as error:
            raise missing(str(error)) from None
        except OSError as error:
            raise missing(error) from error


def _local(folder: Path, member: str) -> Path | None:
    task = member.partition("/")[0]
    names = (f"{task}.jsonl", f"{task}.jsonl.gz", f"{task}.parquet", f"{task}-00000-of-00001.parquet")
    return next((path for name in names if (path := folder / name).is_file()), None)


def _examples(path: Path, gold: str) -> tuple[tuple[Query, ...], Qrels]:
    shared: dict[str, str] = {}
    queries, grades = [], {}
    for where, row in records(path, ["id", "query", "excluded_ids", gold]):
        try:
            excluded = frozenset(shared.setdefault(id, id) for id in _ids(row["excluded_ids"]))
            queries.append(Query(str(row["id"]), _text(row["query"]), excluded))
            grades[str(row["id"])] = dict.fromkeys(_ids(row[gold]), 1)
        except (KeyError, ValueError, TypeError, SyntaxError) as error:
            raise BadInput(f"{where}: no BRIGHT example ({type(error).__name__}: {error})") from None
    return tuple(queries), Qrels(grades)


def _ids(given: object) -> list[str]:
    """Ids from a list or from the text of a Python list; "N/A" stands for none."""
    listed = ast.literal_eval(given) if isinstance(given, str) else given
    if not isinstance(listed, list):
        raise TypeError(f"expected a list of ids, found {given!r:.80}")
    return [str(id) for id in listed if id != "N/A"]


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise TypeError(f"expected a text, found {given!r:.80}")
    return given


def _corpus(path: Path) -> Corpus:
    """The documents; where an id occurs again (AoPS and TheoremQA-Q have some), the first one counts."""
    documents: dict[str, Document] = {}
    for where, row in records(path, ["id", "content"]):
        try:
            document = Document(str(row["id"]), _text(row["content"]))
        except (KeyError, TypeError) as error:
            raise BadInput(f"{where}: no BRIGHT document ({type(error).__name__}: {error})") from None
        documents.setdefault(document.id, document)
    return Corpus(documents.values())
