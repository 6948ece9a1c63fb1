"""Building a lexical index in bounded memory: pieces of the postings wait on disk, then they are joined term by term.

A piece holds the postings of some documents in a row. Joining reads of every piece the same few terms at a time, so
that nothing larger than a piece is ever held; a collection that is one piece never waits on disk.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from whyrank.progress import progress
from whyrank.retrieval.folder import ArrayFile, mapped, write_texts
from whyrank.retrieval.postings import Integers, Postings, Statistics, Weigh
from whyrank.retrieval.reading import Block, Reading

BYTES = 20
"""What each token of a piece takes while the piece is built; measured at 13 to 17 by `benchmarks/large.py`."""

Piece = Callable[[], Postings]
Weigher = Callable[[NDArray[np.int32], Statistics], Weigh]

_LARGEST = np.iinfo(np.int32).max


def cut(reading: Reading, most: float = np.inf) -> Iterator[Postings]:
    """The postings of a collection in pieces of at most `most` tokens, or of one block that has more; one at least."""
    held: list[Block] = []
    tokens = 0
    for block in reading:
        if held and tokens + len(block.terms) > most:
            whole, held, tokens = _together(held), [], 0
            yield Postings.of(*whole, len(reading.terms))
        held.append(block)
        tokens += len(block.terms)
    whole, held = _together(held), []
    yield Postings.of(*whole, len(reading.terms))


def build(part: Path, reading: Reading, weigher: Weigher, memory: float) -> None:
    """Index a collection into the files of the folder `part`, with at most `memory` bytes for postings."""
    most = memory // BYTES
    with TemporaryDirectory(dir=part, prefix="pieces-") as waiting:
        pieces = _put_aside(cut(reading, most), Path(waiting))
        write(part, pieces, reading.ids, reading.terms, weigher, memory)


def write(
    part: Path, pieces: Sequence[Piece], ids: Iterable[str], terms: Iterable[str], weigher: Weigher, memory: float
) -> None:
    """Join pieces into the files of the folder `part`: postings, their weights, document ids and terms.

    Args:
        part: the folder.
        pieces: of the collection, in order; a later one knows the terms of those before it.
        ids: of the documents.
        terms: by their numbers.
        weigher: the document weights for the lengths and the statistics of a collection.
        memory: how many bytes postings may take.
    """
    lengths = np.concatenate([piece().lengths for piece in pieces])
    frequencies = _frequencies(pieces)
    offsets = np.concatenate([[0], np.cumsum(frequencies)])
    weigh = weigher(lengths, Statistics.of(lengths, frequencies))
    number = np.int32 if max(offsets[-1], len(lengths)) <= _LARGEST else np.int64
    np.save(part / "offsets.npy", offsets.astype(number))
    np.save(part / "lengths.npy", lengths)
    write_texts(part / "ids.json", ids)
    write_texts(part / "terms.json", terms)
    size = int(offsets[-1])
    with (
        ArrayFile(part / "documents.npy", number, size) as documents,
        ArrayFile(part / "counts.npy", np.min_scalar_type(int(lengths.max(initial=0))), size) as counts,
        ArrayFile(part / "weights.npy", np.float32, size) as weights,
        progress("writing the index", size) as advance,
    ):
        for start, stop in _spans(offsets, memory / BYTES / 2):
            rows = Postings.joined([piece().rows(start, stop) for piece in pieces])
            documents.append(rows.documents)
            counts.append(rows.counts)
            weights.append(weigh(rows, start))
            advance(len(rows.documents))


def _together(blocks: Sequence[Block]) -> Block:
    nothing = np.empty(0, dtype=np.int32)
    return Block(
        np.concatenate([nothing, *(block.terms for block in blocks)]),
        np.concatenate([nothing, *(block.lengths for block in blocks)]),
    )


def _put_aside(pieces: Iterator[Postings], folder: Path) -> list[Piece]:
    """All pieces on disk but the last."""
    last = next(pieces)
    waiting: list[Piece] = []
    for piece in pieces:
        waiting.append(_stored(last, folder / str(len(waiting))))
        last = piece
    return [*waiting, lambda: last]


def _stored(piece: Postings, folder: Path) -> Piece:
    """A piece on disk; its arrays are mapped anew each time, so that what was read does not stay in memory."""
    folder.mkdir()
    files = [folder / f"{name}.npy" for name in ("offsets", "documents", "counts")]
    for file, array in zip(files, (piece.offsets, piece.documents, piece.counts), strict=True):
        np.save(file, array)
    lengths = piece.lengths
    return lambda: Postings(mapped(files[0]), mapped(files[1]), mapped(files[2]), lengths)


def _frequencies(pieces: Sequence[Piece]) -> NDArray[np.int64]:
    """(T,) in how many documents each term occurs."""
    frequencies = np.zeros(max(len(piece().offsets) for piece in pieces) - 1, dtype=np.int64)
    for piece in pieces:
        known = np.diff(piece().offsets)
        frequencies[: len(known)] += known
    return frequencies


def _spans(offsets: Integers, most: float) -> Iterator[tuple[int, int]]:
    """Terms in a row that have at most `most` postings together, or one term that has more."""
    start, end = 0, len(offsets) - 1
    while start < end:
        stop = int(np.searchsorted(offsets, offsets[start] + most, side="right")) - 1
        stop = min(max(stop, start + 1), end)
        yield start, stop
        start = stop
