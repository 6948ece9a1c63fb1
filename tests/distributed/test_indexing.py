"""An index built shard by shard, by several workers, answers as one index of all."""

from pathlib import Path

import pytest
from in_chunks import Here, write_task

from whyrank import distributed, load, make
from whyrank.errors import BadInput
from whyrank.io import store
from whyrank.io.chunks import Chunks
from whyrank.retrieval.base import Retriever


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("part", ["bm25()", "bm25q()"])
def test_the_same_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, on_disk: bool) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "_STEP", 4)
    if on_disk:
        monkeypatch.setattr(store, "IN_MEMORY", 10)
    data = load(write_task(tmp_path) / "data")
    job = distributed.index(f"sharded({part}, size=7)", tmp_path / "data", tmp_path / "idx", on=Here(seed=2))
    assert (job.chunks, job.report["documents"]) == ({"done": 5}, 30)
    shards = make(f"sharded({part}, path={str(tmp_path / 'idx')!r})", Retriever)
    assert shards.search(data.queries, 9) == make(part, Retriever).index(data.corpus).search(data.queries, 9)
    assert shards.ready(data.corpus)
    again = distributed.index(f"sharded({part}, size=7)", tmp_path / "data", tmp_path / "idx", on=Here())
    assert again.report == job.report


def test_a_shard_that_was_begun_is_begun_anew(task: Path, tmp_path: Path) -> None:
    work = ("sharded(bm25(), size=10)", task / "data", tmp_path / "idx")
    with pytest.raises(BadInput, match="1 of 3 shards are missing"):
        distributed.index(*work, on=distributed.Share(0, 2))
        distributed.join(tmp_path / "idx", partial=True)
    attempt = Chunks.of(tmp_path / "idx")[1].begin("killed")
    attempt.folder.mkdir()
    assert distributed.index(*work, on=Here()).report["documents"] == 30


@pytest.mark.parametrize("part", ["bm25()", "sharded(bm25(), path='there')", "fuse(bm25(), bm25q())"])
def test_only_shards_are_indexed_in_chunks(task: Path, tmp_path: Path, part: str) -> None:
    with pytest.raises(BadInput, match="what is indexed in chunks is shards"):
        distributed.index(part, task / "data", tmp_path / "idx", on=Here())


def test_on_the_command_line(run, task: Path) -> None:
    code, out, _ = run("index", "sharded(bm25(), size=10)", "--data", task / "data", "-o", "idx", "--chunk", "0/1")
    assert (code, out) == (0, "idx: chunks: 3 done; whyrank join idx puts them together once all are done\n")
    assert run("join", "idx")[1] == "idx: 30 documents in 3 shards\n"
    code, out, _ = run("search", "sharded(bm25(), 'idx')", "--data", task / "data", "-o", "found")
    assert code == 0
