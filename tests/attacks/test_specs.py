"""Specs as an attacker writes them: refused in one sentence, from a user and from a file; nothing runs."""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrank.dotted import derives
from whyrank.errors import BadInput, BadSpec
from whyrank.fusion import Fusion
from whyrank.llm.messages import Sampling
from whyrank.registry import BUILTIN, Part, find, make, make_from_file
from whyrank.retrieval.lexical.bm25 import BM25

RUN = "os.system('touch spec-was-run')"
SPECS = [
    RUN,
    f"__import__('os').{RUN[3:]}",
    "builtins.eval('1')",
    "builtins.exec('1')",
    "subprocess.Popen(['touch', 'x'])",
    "pathlib.Path('spec-was-run').touch()",
    "shutil.rmtree('.')",
    "open('spec-was-run', 'w')",
    "sys.exit()",
    "os.abort",
    f"sampling(stop=({RUN},))",
    f"sampling(seed={RUN})",
    f"sampling(seed=({RUN}))",
    f"listwise({RUN})",
    f"fuse(bm25(), {RUN})",
    "sampling(seed=f'{1}')",
    "sampling(stop=(f\"{__import__('os')}\",))",
    "f'bm25()'",
    "b'bm25()'",
    "'bm25()'",
    "sampling(seed=lambda: 1)",
    "(lambda: 1)()",
    "sampling(seed=(x := 1))",
    "(bm25 := 1)",
    "sampling(seed=1 if 1 else 2)",
    "sampling(seed=[x for x in (1,)])",
    "sampling(stop={x for x in 'a'})",
    "sampling(seed=(x for x in 'a'))",
    "sampling(*'a')",
    "sampling(**{'seed': 1})",
    "sampling(seed=1, **x)",
    "sampling(seed=1, seed=2)",
    "bm25(*())",
    "fuse(*x)",
    "sampling(seed=await x)",
    "sampling(seed=not 1)",
    "sampling(seed=1 < 2)",
    "sampling(seed=1 and 2)",
    "sampling(seed=1 + 1)",
    "sampling(seed=2 ** 9999)",
    "sampling().seed",
    "sampling.seed",
    "bm25().index",
    "bm25.__init__()",
    "bm25().__class__",
    "bm25.__class__.__mro__()",
    "sampling(__class__=1)",
    "bm25(_held=1)",
    "bm25(__init__=1)",
    "bm25(file_fields=1)",
    "bm25(masks_excluded=True)",
    "whyrank.registry.Part()",
    "whyrank.registry.make('bm25()')",
    "whyrank.registry._names()",
    "whyrank.cli.main()",
    "whyrank.retrieval.base.Retriever()",
    "whyrank.llm.answer.Ok('x')",
    "whyrank.llm.local.Local('m')",
    "whyrank..registry()",
    "bm25()()",
    "bm25()[0]",
    "bm25[0]",
    "(bm25)",
    "bm25(),",
    "[bm25()]",
    "{'a': bm25()}",
    "bm25(); import os",
    "import os",
    "bm25()\x00",
    "\x00",
    "bm25(\ud800)",
    "sampling(seed='\ud800')",
    "\ufeff\ufeffbm25()",
    "bm25 ()",
    "bm25(k1=１２)",
    "..",
    "a.b",
    ".",
    "(" * 50_000,
    "-" * 50_000 + "1",
    "bm25(" * 50_000,
    "a." * 50_000 + "a",
    "1+" * 50_000 + "1",
    "[" * 50_000,
    "not " * 50_000,
    "sampling(seed=" + "9" * 5_000 + ")",
    "sampling(seed=" + "-" * 3_000 + "1)",
    "sampling(stop=" + "(" * 3_000,
    "x" * 10_000_000,
]
FINE = {"(bm25)", "bm25 ()", "bm25(*())"}
"""These say what is fine to say, or nearly."""


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec[:40]!r}{len(spec)}")
def test_what_is_no_spec_is_refused_and_nothing_runs(
    spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    begun = time.perf_counter()
    if spec not in FINE:
        with pytest.raises(BadInput) as refused:
            make(spec)
        assert len(str(refused.value)) < 20_000
    for kind in (BM25, Sampling):
        with suppress(BadInput):  # of a file unknown fields are passed over
            assert type(make_from_file(spec, kind, "file")) is kind
    assert not os.listdir(tmp_path) and time.perf_counter() - begun < 30


PLAIN = st.builds(
    Fusion,
    method=st.sampled_from(["rrf", "combsum"]),
    norm=st.sampled_from(["minmax", "zscore"]),
    k=st.integers(0, 10**9),
    weights=st.lists(st.floats(0.1, 1e9), max_size=3).map(tuple),
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(PLAIN)
def test_a_file_tells_a_plain_part_as_a_user_does(part: Fusion) -> None:
    told = {name: getattr(part, name) for name in ("method", "norm", "k", "weights")}
    assert (
        make_from_file(repr(part), Fusion, "file") == make_from_file(told, Fusion, "file") == make(repr(part)) == part
    )


@given(ANYTHING | st.fixed_dictionaries({"path": ANYTHING, "k1": ANYTHING, "memory": ANYTHING, "threads": ANYTHING}))
def test_whatever_a_file_tells_only_its_own_fields_are_taken(told: object) -> None:
    try:
        part = make_from_file(told, BM25, "some file", path="mine")
    except BadSpec as error:
        assert str(error).startswith("some file: ")
    else:
        assert (part.path, part.memory, part.threads, part.processes) == ("mine", BM25().memory, None, 1)


REACHING = {"llm", "model", "engine", "path", "base_url", "trust_remote_code", "device", "encoder", "retriever"}


def test_no_field_that_files_may_set_reaches_a_model_or_code() -> None:
    """Of all parts that are built in."""
    for name in BUILTIN:
        part = find(name)
        assert part.file_fields <= {field for field in part.__dataclass_fields__}, name
        reach = {
            "llm",
            "model",
            "engine",
            "path",
            "base_url",
            "trust_remote_code",
            "device",
            "encoder",
            "retriever",
            "extra_body",
        }
        assert not part.file_fields & reach, name


MODULES = {
    "plain": "from whyrank.registry import Part\nclass X(Part): ...",
    "aliased": "import whyrank.registry as r\nclass X(r.Part): ...",
    "whole": "import whyrank.registry\nclass X(whyrank.registry.Part): ...",
    "face": "from whyrank import Retriever\nclass X(Retriever): ...",
    "generic": "from whyrank.rerank.formats.base import Format\nclass X(Format[int]): ...",
    "grandchild": "from .plain import X as Y\nclass Z(Y): ...\nclass X(Z): ...",
    "again": "from .plain import X",
    "starred": "from .plain import *",
    "guarded": "try:\n    from .plain import X\nexcept ImportError:\n    X = None",
    "broken": "import nowhere\nfrom whyrank.registry import Part\nclass X(Part): ...",
}
OTHERS = {
    "function": "def X(): ...",
    "value": "X = 1",
    "class_": "class X: ...",
    "namesake": "class Part: ...\nclass X(Part): ...",
    "ring": "from .ring2 import X",
    "ring2": "from .ring import X",
    "inside": "def f():\n    from whyrank.registry import Part\n    class X(Part): ...",
    "made": "X = type('X', (), {})",
    "none": "",
    "syntax": "class X(",
    "coded": "# coding: nowhere\nclass X: ...",
}


@pytest.mark.parametrize("name", [*MODULES, *OTHERS])
@pytest.mark.parametrize("package", ["made_here", "made_here.deeper"])
def test_a_part_is_known_by_its_source(
    name: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / package.replace(".", "/")
    folder.mkdir(parents=True)
    for each, source in (MODULES | OTHERS).items():
        (folder / f"{each}.py").write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n{source}")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert derives(f"{package}.{name}", "X", Part) == (name in MODULES)
    assert not (tmp_path / "ran").exists() and not any(module.startswith("made_here") for module in sys.modules)
