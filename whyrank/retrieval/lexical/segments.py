"""Building a lexical index in bounded memory: segments of the postings wait on disk, then they are joined term by term.

A segment holds the postings of some documents in a row. Joining reads of every segment the same few terms at a time, so
that nothing larger than a segment is ever held; a collection that is one segment never waits on disk.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from whyrank.progress import progress
from whyrank.retrieval.base import distinct
from whyrank.retrieval.folder import ArrayFile, mapped, write_texts
from whyrank.retrieval.lexical.postings import Integers, Postings, Statistics, Weigh
from whyrank.retrieval.lexical.tokenization import TokenBlocks

BYTES = 16
"""What a token of a segment may take while the segment is built; measured are 11 to 13."""

Segment = Callable[[], Postings]
Weigher = Callable[[NDArray[np.int32], Statistics], Weigh]

_LARGEST = np.iinfo(np.int32).max


def whole(reading: TokenBlocks) -> Postings:
    """The postings of a collection, in memory."""
    (segment,) = _cut(reading, np.inf, Path())
    return segment()


def build(
    part: Path,
    reading: TokenBlocks,
    weigher: Weigher,
    memory: float,
    *,
    before: Postings | None = None,
    ids: Sequence[str] = (),
) -> None:
    """Index a collection into the files of the folder `part`, with at most `memory` bytes for postings.

    Args:
        part: the folder.
        reading: the documents.
        weigher: see `write`.
        memory: see `write`.
        before: the postings of documents that come before them; `reading` knows their terms.
        ids: of those documents.

    Raises:
        BadInput: an id occurs twice.
    """
    with TemporaryDirectory(dir=part, prefix="segments-") as waiting:
        cut = _cut(reading, memory / BYTES, Path(waiting))
        all_of_them = cut if before is None else [lambda: before, *cut]
        write(part, all_of_them, distinct([*ids, *reading.ids]), reading.terms, weigher, memory)


def write(
    part: Path, segments: Sequence[Segment], ids: Iterable[str], terms: Iterable[str], weigher: Weigher, memory: float
) -> None:
    """Join segments into the files of the folder `part`: postings, their weights, document ids and terms.

    Args:
        part: the folder.
        segments: of the collection, in order; a later one knows the terms of those before it.
        ids: of the documents.
        terms: by their numbers.
        weigher: the document weights for the lengths and the statistics of a collection.
        memory: how many bytes postings may take.
    """
    lengths = np.concatenate([segment().lengths for segment in segments])
    frequencies = _frequencies(segments)
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
            rows = Postings.joined([segment().rows(start, stop) for segment in segments])
            documents.append(rows.documents)
            counts.append(rows.counts)
            weights.append(weigh(rows, start))
            advance(len(rows.documents))


def _cut(reading: TokenBlocks, most: float, folder: Path) -> list[Segment]:
    """Segments of at most `most` tokens, or of one block that has more; all but the last wait on disk."""
    waiting: list[Segment] = []
    terms, lengths = array("i"), array("i")  # they grow in place, where a list of blocks would have to be copied
    for block in reading:
        if terms and len(terms) + len(block.terms) > most:
            waiting.append(_stored(_counted(terms, lengths, len(reading.terms)), folder / str(len(waiting))))
            terms, lengths = array("i"), array("i")
        terms.frombytes(block.terms.tobytes())
        lengths.frombytes(block.lengths.tobytes())
    last = _counted(terms, lengths, len(reading.terms))
    return [*waiting, lambda: last]


def _counted(terms: "array[int]", lengths: "array[int]", n_terms: int) -> Postings:
    return Postings.of(np.frombuffer(terms, np.int32), np.frombuffer(lengths, np.int32), n_terms)


def _stored(segment: Postings, folder: Path) -> Segment:
    """A segment on disk; its arrays are mapped anew each time, so that what was read does not stay in memory."""
    folder.mkdir()
    files = [folder / f"{name}.npy" for name in ("offsets", "documents", "counts")]
    for file, numbers in zip(files, (segment.offsets, segment.documents, segment.counts), strict=True):
        np.save(file, numbers)
    lengths = segment.lengths
    return lambda: Postings(mapped(files[0]), mapped(files[1]), mapped(files[2]), lengths)


def _frequencies(segments: Sequence[Segment]) -> NDArray[np.int64]:
    """(T,) in how many documents each term occurs."""
    frequencies = np.zeros(max(len(segment().offsets) for segment in segments) - 1, dtype=np.int64)
    for segment in segments:
        known = np.diff(segment().offsets)
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
