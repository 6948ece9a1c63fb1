"""TREC runs (`query Q0 document rank score tag`), read in blocks into arrays, by line only where something is wrong.

A line that begins with `#` and is no whole entry is a comment, as in trec_eval 10.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from whyrank.errors import BadInput
from whyrank.io.files import Block, block_lines, blocks, columns, escape, escape_all, lines, unescape
from whyrank.progress import warn
from whyrank.types import Run, float32, trec_order

EXPECTED = "expected: query Q0 document rank score tag"
_SPACED = re.compile(r"(\S+) (Q0) (\S.* .*\S) (\d+) ([-+.\deE]+) (\S+)")


class _Columns(NamedTuple):
    """Four columns of some lines; ids in UTF-8 and still escaped, ranks as they are written, and joined."""

    queries: Sequence[bytes]
    documents: Sequence[bytes]
    ranks: Sequence[bytes]
    joined: bytes
    scores: NDArray[np.float64]


def read_trec(path: Path, given: Iterable[Block]) -> Run:
    """Read a TREC run, as `read_run` says; `given` is the file in pieces."""
    entries = _Entries(path)
    tag = b""
    for block in given:
        entries.add(_columns(block) or _columns_by_line(path, block))
        tag = tag or _tag(block)
    if not entries.row_of:
        raise BadInput(f"{path}: the file has only blank lines and comments")
    _refuse_cut_tag(path, block, tag)
    run = entries.run(unescape(tag.decode()))
    if entries.ranks_say_more and path.is_file():
        _tell_contradictions(path)
    return run


def read_trec_parts(path: Path, given: Iterable[Block], size: int) -> Iterator[Run]:
    """The runs of `size` queries each, in the order of the file, that `read_trec` would give as one; one is in memory.

    Raises:
        BadInput: as `read_trec`, or the lines of a query do not stand together.
    """
    entries, count, seen, tag, more = _Entries(path), 0, set[bytes](), b"", False
    for block in given:
        columns, at = _columns(block) or _columns_by_line(path, block), 0
        tag = tag or _tag(block)
        for start, query in _begun(columns.queries, entries.query):
            if query in seen:
                raise BadInput(
                    f"{path}: the lines of query {unescape(query.decode())!r} do not stand together, and what is cut "
                    "into chunks is read once, from front to back: sort it, as by sort -s -k1,1"
                )
            seen.add(query)
            if count == size:
                entries.add(_rows(columns, at, start))
                yield entries.run(unescape(tag.decode()))
                more |= entries.ranks_say_more
                entries, count, at = _Entries(path), 0, start
            count += 1
        entries.add(_rows(columns, at, len(columns.queries)))
    if not seen:
        raise BadInput(f"{path}: the file has only blank lines and comments")
    _refuse_cut_tag(path, block, tag)
    yield entries.run(unescape(tag.decode()))
    if (more or entries.ranks_say_more) and path.is_file():
        _tell_contradictions(path)


def _begun(queries: Sequence[bytes], before: bytes) -> Iterator[tuple[int, bytes]]:
    """Where in a column of queries another one than before begins, and which."""
    for at, query in enumerate(queries):
        if query != before:
            yield at, query
            before = query


def _rows(columns: _Columns, start: int, end: int) -> _Columns:
    if (start, end) == (0, len(columns.queries)):
        return columns
    queries, documents, ranks, _, scores = columns
    some = ranks[start:end]
    return _Columns(queries[start:end], documents[start:end], some, b"".join(some), scores[start:end])


def trec_text(run: Run, exact: bool = False) -> Iterator[str]:
    """A run as TREC text, in one piece for each query; exact are the scores as they are, else `strict_scores`."""
    ranks = [str(rank) for rank in range(1, int(np.diff(run.offsets).max(initial=0)) + 1)]
    texts: NDArray[Any] = run.scores if exact else run.strict_scores.astype(np.dtypes.StringDType())
    tag = escape(run.name) or "run"
    for (query, (ids, _)), (start, end) in zip(run.items(), pairwise(run.offsets.tolist()), strict=True):
        entries = zip(escape_all(ids), ranks, texts[start:end].tolist(), strict=False)
        start_of_line = escape(query)
        yield "".join([f"{start_of_line} Q0 {id} {rank} {score} {tag}\n" for id, rank, score in entries])


class _Entries:
    """The entries of a file as they come, gathered in arrays."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.row_of: dict[bytes, int] = {}
        self._rows: list[NDArray[np.int32]] = []
        self._documents: list[NDArray[Any]] = []
        self._scores: list[NDArray[np.float64]] = []
        self.query, self._seen, self._first = b"", set[bytes](), 1
        self.ranks_say_more = False
        """Whether ranks do not just count the lines of each query, or scores do not fall with the lines."""

    def add(self, given: _Columns) -> None:
        """Take the next lines; a document twice among neighbouring lines of a query is refused at once."""
        rows, lengths = [], []
        at = written = 0
        for query, group in groupby(given.queries):
            end = at + len(list(group))
            if query != self.query:
                self.query, self._seen, self._first = query, set(), int(given.ranks[at] != b"0")
            known = len(self._seen)
            self._seen.update(given.documents[at:end])
            if len(self._seen) < known + end - at:
                _refuse_repeat(self._path)
            if not self.ranks_say_more:
                counted = _counted(known + self._first, end - at)
                self.ranks_say_more = not counted or not given.joined.startswith(counted, written)
                written += len(counted)
            rows.append(self.row_of.setdefault(query, len(self.row_of)))
            lengths.append(end - at)
            at = end
        self.ranks_say_more = self.ranks_say_more or written < len(given.joined)
        self._rows.append(np.repeat(np.array(rows, dtype=np.int32), lengths))
        self._documents.append(_strings(given.documents))
        self._scores.append(given.scores)

    def run(self, name: str) -> Run:
        """The run, each query's entries together and in the order of `trec_order`."""
        rows, documents, scores = (
            np.concatenate(self._rows),
            np.concatenate(self._documents),
            np.concatenate(self._scores),
        )
        offsets = np.concatenate([[0], np.cumsum(np.bincount(rows))]).astype(np.int64)
        together = bool((rows[1:] >= rows[:-1]).all())
        documents, scores, places, resorted = _as_trec_eval(rows, documents, scores, offsets)
        self.ranks_say_more |= resorted
        if not together:
            for start, end in pairwise(offsets.tolist()):
                if len(set(documents[start:end].tolist())) < end - start:
                    _refuse_repeat(self._path)
        queries = [unescape(query.decode()) for query in self.row_of]
        run = Run(queries, offsets, np.arange(len(rows), dtype=np.int32), documents, scores, name=name)
        run.places = places
        return run


def _columns(block: Block) -> _Columns | None:
    """The columns of a flawless block, or None where a look at each line is needed."""
    data, count = block.data, block.size
    tokens = data.split()
    if len(tokens) != 6 * count or tokens[1::6].count(tokens[1]) != count or (b"\t" in data and b" " in data):
        return None
    documents, ranks, numbers = tokens[2::6], tokens[3::6], tokens[4::6]
    if not (joined := b"".join(ranks)).isdigit() or b"_" in b"".join(numbers) or documents[0] == b"Q0":
        return None
    try:
        scores = np.fromiter(map(float, numbers), np.float64, count)
    except ValueError:
        return None
    return _Columns(tokens[0::6], documents, ranks, joined, scores) if np.isfinite(scores).all() else None


def _columns_by_line(path: Path, block: Block) -> _Columns:
    entries = [_entry(f"{path}:{number}", line) for number, line in _uncommented(block_lines(block))]
    queries, documents, ranks, scores = zip(*entries, strict=True) if entries else ((), (), (), ())
    written = [b"%d" % rank for rank in ranks]
    return _Columns(
        [query.encode() for query in queries],
        [document.encode() for document in documents],
        written,
        b"".join(written),
        np.array(scores, dtype=np.float64),
    )


def _uncommented(numbered: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """The lines but comments: those that begin with `#`, unless it is an entry whose query id does."""
    for number, line in numbered:
        if not (line.startswith("#") and (len(fields := _fields(line)) != 6 or _number(fields[4]) is None)):
            yield number, line


def _entry(where: str, line: str) -> tuple[str, str, int, float]:
    fields = _fields(line)
    if len(fields) != 6:
        raise BadInput(f"{where}: {len(fields)} fields, expected 6{_hint(fields)}")
    query, iteration, document, rank, score, _ = fields
    if not query or not document:
        raise BadInput(f"{where}: the {'document' if query else 'query'} id is empty; {EXPECTED}")
    if document == "Q0" != iteration:
        raise BadInput(f"{where}: the document id (3rd field) is 'Q0': are columns mixed up? {EXPECTED}")
    position, value = _number(rank), _number(score)
    if position is None or not position.is_integer():
        raise BadInput(
            f"{where}: the rank (4th field) is {rank!r:.40}, no whole number: are columns mixed up? {EXPECTED}"
        )
    if value is None:
        raise BadInput(f"{where}: the score (5th field) is {score!r:.40}, no number: are columns mixed up? {EXPECTED}")
    if not np.isfinite(value):
        raise BadInput(
            f"{where}: document {unescape(document)!r} has the score {score:.40}: scores must be finite numbers"
        )
    return query, document, int(position), value


def _fields(line: str) -> list[str]:
    """The columns of a line; an id with raw spaces is taken whole where tabs or the other columns leave no doubt."""
    if len(parts := line.split("\t")) == 6:
        return parts
    spaced = _SPACED.fullmatch(line)
    return list(spaced.groups()) if spaced else columns(line)


def _hint(fields: Sequence[str]) -> str:
    if len(fields) == 4:
        return f": is the file cut off here, or is it one of judgements (qrels)? {EXPECTED}"
    if len(fields) > 6:
        return f": does an id hold a space? Write it as \\u0020, or part the columns by tabs; {EXPECTED}"
    return f": is the file cut off here? {EXPECTED}"


def _number(text: str) -> float | None:
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _tag(block: Block) -> bytes:
    line = next((line for _, line in _uncommented(block_lines(block))), None)
    return _fields(line)[5].encode() if line is not None else b""


def _refuse_cut_tag(path: Path, block: Block, tag: bytes) -> None:
    """A last line without its end whose tag is only the beginning of the tag was cut off there."""
    last = block.data.rsplit(None, 1)[-1]
    comment = block.data.rpartition(b"\n")[2].startswith(b"#")
    if not block.data.endswith(b"\n") and not comment and last != tag and tag.startswith(last):
        line = block.first + block.size - 1
        raise BadInput(f"{path}:{line}: the tag is {last.decode()!r}, not {tag.decode()!r}: the file is cut off here")


def _refuse_repeat(path: Path) -> NoReturn:
    seen: dict[tuple[str, str], int] = {}
    for number, line in _uncommented(lines(path)):
        query, document, _, _ = _entry(f"{path}:{number}", line)
        before = seen.setdefault((query, document), number)
        if before != number:
            raise BadInput(
                f"{path}:{number}: query {unescape(query)!r}: document {unescape(document)!r} is ranked twice, "
                f"first in line {before}"
            )
    raise BadInput(f"{path}: a document is ranked twice for one query")


def _strings(ids: Sequence[bytes]) -> NDArray[Any]:
    text = b"\n".join(ids).decode()
    given = text.split("\n") if ids else []
    return np.array([unescape(id) for id in given] if "\\u" in text else given, dtype=np.dtypes.StringDType())


def _as_trec_eval(
    rows: NDArray[np.int32], documents: NDArray[Any], scores: NDArray[np.float64], offsets: NDArray[np.int64]
) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.int64] | None, bool]:
    """The entries with each query's together and in the order of `trec_order`; nothing moves that stands right.

    Then where each stood, if ties were moved, and whether scores did not fall with the lines of a query.
    """
    narrow, places, resorted = float32(scores), None, False
    if ((rows[1:] < rows[:-1]) | ((rows[1:] == rows[:-1]) & (narrow[1:] > narrow[:-1]))).any():
        places = np.lexsort((-narrow, rows)).astype(np.int64)
        together = np.argsort(rows, kind="stable")
        resorted = not np.array_equal(narrow[together], narrow[places])
        rows, documents, scores, narrow = rows[places], documents[places], scores[places], narrow[places]
    ties = np.flatnonzero((rows[1:] == rows[:-1]) & (narrow[1:] == narrow[:-1]))
    wrong = ties[documents[ties + 1] > documents[ties]]
    if len(wrong) and places is None:
        places = np.arange(len(rows), dtype=np.int64)
    for row in np.unique(rows[wrong]).tolist():
        start, end = offsets[row : row + 2].tolist()
        order = trec_order(documents[start:end].tolist(), scores[start:end]) + start
        documents[start:end], scores[start:end] = documents[order], scores[order]
        places[start:end] = places[order]  # type: ignore[index]  # set where anything is wrong
    return documents, scores, places if len(wrong) else None, resorted


_MANY = 100_000
_ENDS = [0]
_NUMBERS = bytearray()


def _counted(first: int, count: int) -> bytearray:
    """So many numbers from `first` on, as they are written one after the other; nothing where they are very many."""
    if first + count > _MANY:
        return bytearray()
    for number in range(len(_ENDS) - 1, first + count):
        _NUMBERS.extend(b"%d" % number)
        _ENDS.append(len(_NUMBERS))
    return _NUMBERS[_ENDS[first] : _ENDS[first + count]]


def _tell_contradictions(path: Path) -> None:
    """Warn where scores rise while ranks fall: the scores count, and the ranks may be what was meant."""
    row_of: dict[bytes, int] = {}
    rows, ranks, scores = [], [], []
    for block in blocks(path):
        given = _columns(block) or _columns_by_line(path, block)
        rows.append(np.array([row_of.setdefault(query, len(row_of)) for query in given.queries], dtype=np.int64))
        ranks.append(np.fromiter(map(float, given.ranks), np.float64, len(given.ranks)))
        scores.append(float32(given.scores))
    row, rank, score = np.concatenate(rows), np.concatenate(ranks), np.concatenate(scores)
    order = np.lexsort((-score, rank, row))
    row, rank, score = row[order], rank[order], score[order]
    against = np.flatnonzero((row[1:] == row[:-1]) & (rank[1:] > rank[:-1]) & (score[1:] > score[:-1]))
    if against.size:
        at, query = int(against[0]), list(row_of)[int(row[against[0]])]
        warn(
            f"{path}: in {len(np.unique(row[against])):,} of {len(row_of):,} queries the scores contradict the ranks, "
            f"as in {unescape(query.decode())!r}, where rank {rank[at]:.0f} has {score[at]:g} and "
            f"{rank[at + 1]:.0f} has {score[at + 1]:g}: the scores count, as in trec_eval; if the ranks are "
            "right, cut the file to query, document and rank"
        )
