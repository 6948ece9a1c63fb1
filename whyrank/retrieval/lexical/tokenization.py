"""From texts to term numbers: each distinct token is analysed once, and several processes can share the work."""

from collections.abc import Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from whyrank.progress import progress
from whyrank.retrieval.lexical.analysis import Analyzer, AnalyzerName, find_analyzer
from whyrank.types import Document, Fingerprint

BLOCK, CHARACTERS = 2048, 1 << 21
"""How many documents are read at a time; fewer where they have so many characters."""


class TermNumbers(dict[str, int]):
    """The number of the term behind each raw token met so far, −1 for a stop word.

    Terms are numbered in the order in which they are first met.
    """

    def __init__(self, analyzer: Analyzer, terms: dict[str, int]) -> None:
        """Start from the numbers in `terms`, which grows."""
        super().__init__()
        self.terms, self._analyzer = terms, analyzer

    def __missing__(self, token: str) -> int:
        """Analyse a token that was not met before."""
        term = self._analyzer.term(token)
        number = -1 if term is None else self.terms.setdefault(term, len(self.terms))
        self[token] = number
        return number

    def read(self, texts: Iterable[str]) -> "TokenBlock":
        """The term numbers of some texts, without stop words."""
        tokens: list[str] = []
        ends = [0]
        for text in texts:
            tokens += self._analyzer.tokens(text)
            ends.append(len(tokens))
        numbers = np.fromiter(map(self.__getitem__, tokens), np.int32, len(tokens))
        kept = numbers >= 0
        before = np.concatenate([[0], np.cumsum(kept)])
        return TokenBlock(numbers[kept], np.diff(before[ends]).astype(np.int32))


class TokenBlock(NamedTuple):
    """Some documents as numbers: `terms` (N,) int32, one a token, and `lengths` (D,) int32, tokens a document."""

    terms: NDArray[np.int32]
    lengths: NDArray[np.int32]


class TokenBlocks:
    """A collection on its way to numbers, the same ones for any number of processes; iterate over it once.

    Attributes:
        ids: the ids of the documents read so far, and perhaps of some that come next.
        fingerprint: of the same documents.
        terms: the number of every term in the blocks given so far; those known before come first.
    """

    def __init__(
        self, corpus: Iterable[Document], analyzer: AnalyzerName, known: Iterable[str] = (), *, processes: int = 1
    ) -> None:
        """Nothing is read yet.

        Args:
            corpus: the documents; their title and text are analysed together.
            analyzer: the analyser's name, or the function that it is.
            known: terms that have numbers already, in order.
            processes: how many processes analyse; with more than one, a script needs the usual `__main__` guard.
        """
        self.ids: list[str] = []
        self.fingerprint = Fingerprint()
        self.terms = {term: number for number, term in enumerate(known)}
        self._corpus, self._analyzer, self._processes = corpus, analyzer, processes

    def __iter__(self) -> Iterator[TokenBlock]:
        """The documents in order, some at a time."""
        with progress("indexing", len(self._corpus) if isinstance(self._corpus, Sized) else None) as advance:
            for block in self._blocks():
                advance(len(block.lengths))
                yield block

    def _blocks(self) -> Iterator[TokenBlock]:
        if self._processes > 1:
            return _read_apart(self._texts(), self._analyzer, self.terms, self._processes)
        return map(TermNumbers(find_analyzer(self._analyzer), self.terms).read, self._texts())

    def _texts(self) -> Iterator[list[str]]:
        texts: list[str] = []
        size = 0
        for document in self.fingerprint.watch(self._corpus):
            self.ids.append(document.id)
            texts.append(document.content)
            size += len(texts[-1])
            if len(texts) == BLOCK or size >= CHARACTERS:
                yield texts
                texts, size = [], 0
        if texts:
            yield texts


def _read_apart(
    blocks: Iterator[list[str]], analyzer: AnalyzerName, terms: dict[str, int], processes: int
) -> Iterator[TokenBlock]:
    """Read blocks in other processes, in order, with the numbers that reading here would give; `terms` grows."""
    context = get_context("spawn")  # a fork could copy another thread's lock in its locked state
    with ProcessPoolExecutor(processes, context, _set_up, (analyzer,)) as pool:
        waiting: list[Future[tuple[list[str], TokenBlock]]] = [
            pool.submit(_read_here, block) for block in islice(blocks, 2 * processes)
        ]
        while waiting:
            met, (local, lengths) = waiting.pop(0).result()
            waiting += [pool.submit(_read_here, block) for block in islice(blocks, 1)]
            numbers = np.fromiter((terms.setdefault(term, len(terms)) for term in met), np.int32, len(met))
            yield TokenBlock(numbers[local], lengths)


_here: TermNumbers  # of a worker process
_names: list[str]


def _set_up(analyzer: AnalyzerName) -> None:
    global _here, _names
    _here, _names = TermNumbers(find_analyzer(analyzer), {}), []


def _read_here(texts: Sequence[str]) -> tuple[list[str], TokenBlock]:
    """A worker's share: the block's terms in the order of their first token, and the block in places of that list."""
    block = _here.read(texts)
    _names.extend(islice(_here.terms, len(_names), None))
    first = np.full(len(_names), -1, dtype=np.int32)
    first[block.terms[::-1]] = np.arange(len(block.terms) - 1, -1, -1, dtype=np.int32)
    met = np.flatnonzero(first >= 0)
    met = met[np.argsort(first[met])]
    first[met] = np.arange(len(met), dtype=np.int32)
    return [_names[number] for number in met.tolist()], TokenBlock(first[block.terms], block.lengths)
