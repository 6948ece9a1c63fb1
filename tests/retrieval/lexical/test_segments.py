"""Indexes that are built in segments: the same files, in bounded memory."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.retrieval.lexical.test_bm25 import CORPORA, QUERIES, TERMS, same
from whyrank.errors import BadInput, BadSpec
from whyrank.retrieval.lexical import segments, tokenization
from whyrank.retrieval.lexical.bm25 import BM25, BM25Q
from whyrank.types import Document, Query


@pytest.fixture
def tiny_blocks(monkeypatch):
    monkeypatch.setattr(tokenization, "BLOCK", 3)
    monkeypatch.setattr(segments, "BYTES", 100)


def files(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("part", [BM25(**TERMS), BM25(lengths="exact", k1=2, **TERMS), BM25Q(**TERMS)])
def test_an_index_in_segments_is_the_index_byte_for_byte(part, tiny_blocks, tmp_path_factory):
    @settings(max_examples=40, deadline=None)
    @given(CORPORA, QUERIES, st.sampled_from(["0.1kB", "0.5kB", "2kB", "1GB"]))
    def check(corpus, queries, memory):
        folder = tmp_path_factory.mktemp("segments")
        whole = part.index(corpus)
        whole.save(folder / "whole")
        streamed = replace(part, path=folder / "segments", memory=memory).index(iter(corpus))
        assert files(folder / "segments") == files(folder / "whole")
        same(streamed.search(queries, 5), whole.search(queries, 5))
        for name in ("offsets", "documents", "counts", "lengths"):
            assert getattr(streamed._ready().postings, name).tolist() == getattr(whole._held.postings, name).tolist()
        assert streamed._ready().weights.tolist() == whole._held.weights.tolist()

    check()


def test_segments_wait_on_disk_and_go(tiny_blocks, tmp_path, monkeypatch):
    corpus = [Document(f"d{n}", f"bee{n % 4} ant{n} hive") for n in range(50)]
    waiting, stored = [], segments._stored
    monkeypatch.setattr(segments, "_stored", lambda piece, folder: waiting.append(folder) or stored(piece, folder))
    BM25(tmp_path / "index", memory="1kB").index(corpus)
    assert len(waiting) == 16 and not any(folder.exists() for folder in waiting)  # 3 documents of 3 terms in each
    assert [file.name for file in tmp_path.iterdir()] == ["index"]
    before = files(tmp_path / "index")
    BM25(tmp_path / "apart", memory="1kB", processes=2).index(corpus)
    assert files(tmp_path / "apart") == before


def test_a_failure_leaves_no_trace(tiny_blocks, tmp_path):
    def broken():
        yield from (Document(f"d{n}", "bee ant") for n in range(20))
        raise OSError("the line is cut")

    with pytest.raises(OSError, match="the line is cut"):
        BM25(tmp_path / "index", memory="1kB").index(broken())
    with pytest.raises(BadInput, match="'d' occurs twice"):
        BM25(tmp_path / "index", memory="1kB").index(iter([Document("d", "bee")] * 2))
    assert list(tmp_path.iterdir()) == []


def test_long_documents_are_read_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(tokenization, "CHARACTERS", 100)
    corpus = [Document(f"d{n}", "bee " * 30) for n in range(4)] + [Document(f"s{n}", "ant") for n in range(4)]
    read = tokenization.TokenBlocks(corpus, "terms")
    assert [len(block.lengths) for block in read] == [1, 1, 1, 1, 4]
    assert read.ids == [document.id for document in corpus] and read.terms == {"bee": 0, "ant": 1}


@pytest.mark.parametrize("wrong", ["", "1", "GB", "-1GB", "1TB", "1,5GB"])
def test_memory_must_be_told_in_units(wrong):
    with pytest.raises(BadSpec, match="memory must be a number and kB, MB or GB"):
        BM25(memory=wrong)


def test_other_parameters_weigh_only_what_is_asked_for(tmp_path):
    corpus = [Document(f"d{n}", f"bee ant{n % 3} wasp{n}") for n in range(40)]
    BM25(tmp_path / "index").index(corpus)
    other = BM25(tmp_path / "index", k1=2, b=1)
    queries = [Query("q", "bees ant1"), Query("p", "ant2 ant2")]
    same(other.search(queries), BM25(k1=2, b=1).index(corpus).search(queries))
    held = other._ready()
    assert {term: held.weights[held.postings.offsets[held.numbers[term]]] > 0 for term in ("bee", "ant1", "ant0")} == {
        "bee": True,
        "ant1": True,
        "ant0": False,
    }


PEAK = """
import sys
from pathlib import Path
def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
"""

INDEXING = """
import numpy as np
from whyrank.retrieval.lexical.bm25 import BM25
from whyrank.types import Document
words = [f"w{n}" for n in range(3000)]
drawn = np.random.default_rng(0).integers(0, 3000, (20_000, 200))
def documents(n):
    for number, row in enumerate(drawn[:n]):
        yield Document(str(number), " ".join(map(words.__getitem__, row.tolist())))
BM25(sys.argv[1] + "/warm", analyzer="terms").index(documents(2048))
before = peak()
BM25(sys.argv[1] + "/index", analyzer="terms", memory=sys.argv[2]).index(documents(20_000))
print(peak() - before)
"""

SEARCHING = """
import numpy as np
from whyrank.retrieval.vector import vectors
folder = vectors.VectorFolder.at(Path(sys.argv[1]), "float16", 1024, {})
block = np.random.default_rng(0).standard_normal((2_000, 1024)).astype(np.float16)
def search(matrix):
    vectors.nearest(matrix, block[:20].astype(np.float32), 10, {}, device="cpu", floats=1 << 21)
search(block)
before = peak()
for number in range(20):
    folder.append([str(number * 2_000 + n) for n in range(2_000)], block, "")
search(folder.finish().matrix)
print(peak() - before)
"""


def rise(script, *arguments):
    done = subprocess.run([sys.executable, "-c", PEAK + script, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_indexing_stays_within_its_memory(tmp_path):
    bounded = rise(INDEXING, tmp_path / "bounded", "10MB")
    unbounded = rise(INDEXING, tmp_path / "unbounded", "1GB")
    assert unbounded > 28  # 4 million tokens
    assert bounded < 16  # 10 MB, ids of 20,000 documents


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_vectors_are_searched_in_bounded_memory(tmp_path):
    pytest.importorskip("torch")
    assert rise(SEARCHING, tmp_path / "index") < 60  # the vectors take 82 MB; 328 MB of them let it rise by as much


def test_postings_are_numbered_in_32_bits(tmp_path):
    corpus = [Document("a", "bee ant"), Document("b", "ant")]
    for held in (BM25().index(corpus)._held, BM25(tmp_path / "index").index(corpus)._ready()):
        assert held.postings.documents.dtype == held.postings.offsets.dtype == np.int32
