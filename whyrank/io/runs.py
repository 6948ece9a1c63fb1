"""Runs as files: TREC's six columns, JSON `{query id: {document id: score}}` or `{query id: [ids]}`, or candidates."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np

from whyrank.errors import BadInput, want
from whyrank.io.candidates import read_candidates
from whyrank.io.files import Block, atomic_write, block_lines, blocks, columns, stem, suffix
from whyrank.io.records import from_json
from whyrank.io.trec import read_trec, read_trec_parts, trec_text
from whyrank.progress import note
from whyrank.types import Run

_SHAPE = "{query id: {document id: score}} or {query id: [document ids, best first]}"


def read_run(path: str | Path) -> Run:
    """Read a run: JSON if the path ends in `.json`, candidates with text if in `.jsonl`, else TREC; also `.gz`.

    A `.json` file may hold candidates, too, see `read_candidates`; their order counts, as it stands.

    MS MARCO's runs have three columns, query, document and rank, and the ranks are the order. Else the order is the one
    that trec_eval sees: score falling, compared in float32, then document id falling; ranks are not used, and where
    they contradict the scores there is a warning. The run is named after the tag of its first line, or after the file.

    Raises:
        NotFound: no such file.
        BadInput: naming file and line: a line has not six columns, a rank or score is no (finite) number, a document is
            ranked twice, the file is empty, cut off or no UTF-8.
    """
    if suffix(path) == ".jsonl":
        return _candidates(Path(path))
    if suffix(path) == ".json":
        return _read_json(Path(path))
    msmarco, given = _looked_into(path)
    return _read_msmarco(Path(path), given) if msmarco else read_trec(Path(path), given)


def read_run_parts(path: str | Path, size: int) -> Iterator[Run]:
    """The run that `read_run` reads, in its order, in parts of `size` queries; of a TREC file one is in memory at once.

    Raises:
        NotFound, BadInput: as `read_run`; or the lines of a query of a TREC file do not stand together.
    """
    parted = suffix(path) not in (".json", ".jsonl")
    msmarco, given = _looked_into(path) if parted else (False, iter(()))
    if parted and not msmarco:
        yield from read_trec_parts(Path(path), given, size)
        return
    run = _read_msmarco(Path(path), given) if msmarco else read_run(path)
    yield from (run.part(first, first + size) for first in range(0, len(run), size))


def write_run(run: Run, path: str | Path, *, exact: bool = False) -> None:
    r"""Write a run: JSON if the path ends in `.json`, else TREC; compressed if it ends in `.gz`.

    The scores written are `run.strict_scores`, in the fewest digits that give back the same float32, so that they fall
    strictly for every tool. In TREC columns white space in ids is written as `\uXXXX`, and a query without documents
    leaves no trace.

    Args:
        run: the rankings.
        path: the file.
        exact: write the scores of `run` to TREC columns as they are, ties and all: what reads them back has the same.
    """
    want(run, Run, "write_run: the run", "hand in a Run first, then the path")
    with atomic_write(path) as file:
        for text in _json_text(run) if suffix(path) == ".json" else trec_text(run, exact):
            file.write(text.encode())


def _json_text(run: Run) -> Iterator[str]:
    texts, before = run.strict_scores.astype(np.dtypes.StringDType()), "{"
    for (query, (ids, _)), (start, end) in zip(run.items(), pairwise(run.offsets.tolist()), strict=True):
        scores = map(float, texts[start:end].tolist())
        entries = json.dumps(dict(zip(ids, scores, strict=True)), ensure_ascii=False)
        yield f"{before}\n{json.dumps(query, ensure_ascii=False)}: {entries}"
        before = ","
    yield "\n}\n" if len(run) else "{}\n"


def _read_json(path: Path) -> Run:
    text = b"".join(block.data for block in blocks(path)).decode()
    given = from_json(text, path, hook=_object)
    if isinstance(given, list) and any(isinstance(one, dict) for one in given):
        return _candidates(path)
    if not isinstance(given, dict) or not given:
        raise BadInput(f"{path}: expected {_SHAPE}, found {text[:40]!r}")
    if isinstance(given, _Repeating):
        raise BadInput(f"{path}: query {given.key!r} occurs twice")
    for query, ranking in given.items():
        if isinstance(ranking, _Repeating):
            raise BadInput(f"{path}: query {query!r}: document {ranking.key!r} is ranked twice")
        listed = isinstance(ranking, list) and all(isinstance(id, str) for id in ranking)
        scored = isinstance(ranking, dict) and all(type(score) in (int, float) for score in ranking.values())
        if not listed and not scored:
            raise BadInput(f"{path}: query {query!r}: expected {_SHAPE}, with numbers as scores")
    try:
        run = Run.of(given, name=stem(path))
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None
    if run.ties:
        run.places = np.array([place for query, (ids, _) in run.items() for place in _places(given[query], ids)])
    return run


def _looked_into(path: str | Path) -> tuple[bool, Iterator[Block]]:
    """Whether it is an MS MARCO run, whose first line has three columns, the third a rank; and the file in pieces."""
    given = blocks(path)
    block = next(given)
    first = next((line for _, line in block_lines(block) if not line.startswith("#")), "")
    fields = _three(first)
    return len(fields) == 3 and fields[2].isdecimal(), chain([block], given)


def _read_msmarco(path: Path, given: Iterable[Block]) -> Run:
    note(f"{path}: read as an MS MARCO run: query, document, rank")
    ranked: dict[str, dict[int, str]] = {}
    for number, line in chain.from_iterable(map(block_lines, given)):
        fields = _three(line)
        whole = len(fields) == 3 and fields[2].isdecimal() and len(fields[2]) < 19 and fields[0] and fields[1]
        if line.startswith("#") and not whole:
            continue
        if not whole:
            raise BadInput(
                f"{path}:{number}: expected query, document and rank, as in the first line, found {line[:60]!r}"
            )
        query, document, rank = fields
        if ranked.setdefault(query, {}).setdefault(int(rank), document) != document:
            raise BadInput(
                f"{path}:{number}: query {query!r}: two documents have the rank {rank}: are these judgements? "
                "expected: query, document and rank (MS MARCO), or query Q0 document rank score tag (TREC)"
            )
    try:
        return Run.of({q: [ids[rank] for rank in sorted(ids)] for q, ids in ranked.items()}, name=stem(path))
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None


def _three(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else columns(line)


def _places(given: Mapping[str, float] | Sequence[str], ids: Sequence[str]) -> Iterator[int]:
    """Where in the file's object each of the ids stood."""
    at = {id: place for place, id in enumerate(given)}
    return (at[id] for id in ids)


def _candidates(path: Path) -> Run:
    return cast(Run, read_candidates(path).candidates)


class _Repeating(dict[str, Any]):
    """A JSON object in which a key occurs twice."""

    key = ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    repeating = _Repeating(found)
    repeating.key = Counter(key for key, _ in pairs).most_common(1)[0][0]
    return repeating
