"""What shared folders may not decide: which code runs, which model is loaded, where a key goes."""

import json
import re
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tiny
from by_words import ByWords
from crafted import about_as, sealed

from whyrank.datasets import load
from whyrank.errors import BadIndex, BadInput, BadSpec, Untrusted, WhyrankError
from whyrank.experiment import explain, export, fusion_of, rerank, search
from whyrank.fusion import Fusion
from whyrank.llm.fake import Fake
from whyrank.registry import find, make, make_from_file
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.retrieval.lexical.bm25 import BM25
from whyrank.retrieval.tree.retriever import Tree
from whyrank.retrieval.vector.dense import Dense
from whyrank.retrieval.vector.late import Late
from whyrank.retrieval.vector.sparse import Splade
from whyrank.types import Document, Query

TOY = load("toy").head(3)
DOCUMENTS = [Document("d1", "bees dance"), Document("d2", "ants follow scent", "Ants"), Document("d3", "wax and honey")]
QUERIES = [Query("q", "why do bees dance")]


# 1. A file's names and specs are data.

PAYLOAD = """
import pathlib
from dataclasses import dataclass
from whyrank.fusion import Fusion
from whyrank.types import Dataset
pathlib.Path({ran!r}).write_text("imported")
def go(split=None):
    pathlib.Path({ran!r}).write_text("called")
    return Dataset("payload")
class Evil:
    def __init__(self, *_, **__): go()
    load = classmethod(lambda cls, *_, **__: go())
@dataclass(frozen=True, kw_only=True)
class X(Fusion):
    def __post_init__(self): go()
"""


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file that a payload writes when it runs; it lies on the path of modules, as where `python -m` is called."""
    ran = tmp_path / "ran"
    for place in (tmp_path / "payload.py", tmp_path / "fused" / "payload.py"):
        place.parent.mkdir(exist_ok=True)
        place.write_text(PAYLOAD.format(ran=str(ran)))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield ran
    for name in ("payload", "shared.payload", "shared", "fused.payload", "fused"):
        sys.modules.pop(name, None)


@pytest.fixture
def reranked(tmp_path: Path) -> Path:
    """The folder of a reranked run."""
    first = search(BM25(), TOY, tmp_path / "bm").folder
    return rerank(first, Listwise(Fake("<answer>[2] > [1]</answer>")), TOY, tmp_path / "shared", depth=3).folder


def told(folder: Path, **task: object) -> None:
    """Write other values into what a manifest says was asked."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["task"] |= task
    (folder / "manifest.json").write_text(json.dumps(manifest))


FUNCTIONS = ["shared.payload:go", "payload:go", "payload:X", "os:getcwd", "builtins:dict", "whyrank.datasets:load"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_function_is_called_because_a_manifest_names_it(ran, reranked, run, name, monkeypatch):
    monkeypatch.chdir(ran.parent)
    shutil.copy("payload.py", reranked / "payload.py")
    told(reranked, data={"name": name})
    for use in (lambda: explain(reranked, TOY.queries[0].id), lambda: export(reranked, ran.parent / "x.jsonl")):
        with pytest.raises(Untrusted, match=f"names its data by a function, '{re.escape(name)}'"):
            use()
    for arguments in (("explain", reranked, "-q", TOY.queries[0].id), ("export", reranked, "-o", "x.jsonl")):
        code, out, err = run(*arguments)
        assert code == 1 and not out and "--trust" in err and err.count("\n") == 1
    assert not ran.exists()


def test_trust_widens_it_for_one_call_and_says_so(ran, reranked, run):
    told(reranked, data={"name": "payload:go"})
    arguments = ("explain", reranked, "-q", TOY.queries[0].id)
    code, out, err = run(*arguments, "--trust", reranked)
    assert code == 0 and out and "is trusted, this once: what its manifest.json names is imported and run" in err
    assert ran.read_text() == "called"
    ran.unlink()
    assert run(*arguments)[0] == 1 and not ran.exists()
    code, _, err = run(*arguments, "--trust", ran.parent)
    assert code == 1 and "--trust names" in err and not ran.exists()


@pytest.mark.parametrize(
    "name", [None, 5, [], {}, ["toy"], "", "../../etc", "toy/../..", "beir/../../x", "x" * 5000, "a\0b"]
)
def test_odd_names_of_data_are_no_data(reranked, name):
    told(reranked, data={"name": name})
    assert explain(reranked, TOY.queries[0].id)
    for data in (name, None, [], "toy"):
        told(reranked, data=data)
        assert explain(reranked, TOY.queries[0].id)


def test_a_name_that_files_may_tell_is_read(reranked):
    assert all(item.text for item in explain(reranked, TOY.queries[0].id))


def _fused(folder: Path, spec: object) -> Path:
    """The folder of a run that says so of its fusion."""
    manifest = {"task": {"verb": "fuse", "spec": spec}, "made_with": {}, "finished": True}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


SPECS = [
    *(
        "fused.payload.X()",
        "payload.X()",
        "this.X()",
        "antigravity.X()",
        "os.abort()",
        "payload.X",
        "fused.payload.X(k=3)",
    ),
    *(
        "openai('m', base_url='http://127.0.0.1:1')",
        "bm25()",
        "tree(fake())",
        "fusion",
        "fusion(k='x')",
        "fusion(weights=bm25())",
    ),
    *(
        "fusion(method=payload.X())",
        "fusion(norm=payload.X)",
        "fusion(**payload)",
        "fusion(k=__import__('os'))",
        "",
        "(",
        "fusion(k=-1)",
    ),
    *("fusion(k=" + "9" * 5000 + ")", "fusion(weights=(" + "(" * 5000, "\0"),
    *(None, 5, [], {}, ["fusion()"], {"part": "payload.X"}, {"k": "x"}),
]


@pytest.mark.parametrize("spec", SPECS)
def test_fusing_like_a_folder_imports_nothing(ran, tmp_path, spec):
    folder = _fused(tmp_path / "fused", spec)
    before = set(sys.modules)
    if spec in ("fusion", {}) or (isinstance(spec, dict) and "part" in spec):
        assert fusion_of(folder) == Fusion()
    else:
        with pytest.raises(BadSpec, match=r"manifest\.json"):
            fusion_of(folder)
    assert not ran.exists() and not {"payload", "this", "antigravity", "fused.payload"} & (set(sys.modules) - before)


def test_a_fusion_of_ones_own_needs_trust(ran, tmp_path, run):
    for name in ("a", "b"):
        search(BM25(), TOY, tmp_path / name)
    folder = _fused(tmp_path / "fused", "payload.X(k=7)")
    assert run("fuse", "a", "b", "--like", folder, "-o", "f")[0] == 1 and not ran.exists()
    assert run("fuse", "a", "b", "--like", folder, "-o", "f", "--trust", folder)[0] == 0 and ran.exists()
    assert run("fuse", "a", "b", "-o", "g", "--trust", folder)[0] == 1


@pytest.mark.parametrize(
    "path", ["this.X", "antigravity.X", "payload.go", "payload.Evil", "payload", "nowhere.X", "json.tool.main"]
)
def test_what_a_user_writes_is_known_as_a_part_before_it_is_imported(ran, path):
    with pytest.raises(BadSpec):
        make(f"{path}()")
    assert not ran.exists() and not {"this", "antigravity", "payload", "json.tool"} & set(sys.modules)


def test_a_users_own_part_is_built(ran):
    assert isinstance(make("payload.X(k=3)"), Fusion) and ran.exists()
    with pytest.raises(BadSpec, match="never taken from a file"):
        find("payload.X", installed=True)


# 2. A file chooses no model, no engine and no code of a model.


@pytest.fixture
def evil_model(tmp_path: Path, ran: Path) -> Path:
    """A model whose modules.json names a class of its own."""
    model = tmp_path / "model"
    model.mkdir()
    shutil.copy(tmp_path / "payload.py", model / "payload.py")
    modules = [{"idx": 0, "name": "0", "path": "", "type": "payload.Evil"}]
    (model / "modules.json").write_text(json.dumps(modules))
    kinds = {"model_type": "SparseEncoder"}
    (model / "config_sentence_transformers.json").write_text(json.dumps(kinds))
    (model / "config.json").write_text(json.dumps({"architectures": ["XForMaskedLM"], "model_type": "bert"}))
    return model


def _vectors(folder: Path, part: dict[str, object]) -> None:
    """A folder of vectors that says so of its maker."""
    ByWords("words", path=str(folder)).index(DOCUMENTS)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["about"]["part"] |= part
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.engines
def test_an_index_of_vectors_runs_no_code(tmp_path, evil_model, ran):
    _vectors(tmp_path / "idx", {"model": str(evil_model), "trust_remote_code": True})
    with pytest.raises(BadIndex, match="a file chooses no model: give it"):
        Dense.open(tmp_path / "idx").search(QUERIES)
    for given in ({"model": str(evil_model)}, {"trust": True}):
        with pytest.raises(WhyrankError):
            opened = Dense.open(tmp_path / "idx", **given)
            assert opened.trust_remote_code is False
            opened.search(QUERIES)
    assert not ran.exists()


@pytest.mark.engines
@pytest.mark.parametrize("part", [Splade, Late])
def test_an_encoded_index_runs_no_code(tmp_path, evil_model, ran, part, monkeypatch):
    BM25(str(tmp_path / "idx")).index(DOCUMENTS)
    kind = {"kind": f"whyrank-{part.__name__.lower()}", "about": {"model": str(evil_model), "trust_remote_code": True}}
    description = json.loads((tmp_path / "idx" / "index.json").read_text())
    (tmp_path / "idx" / "index.json").write_text(json.dumps(description | kind))
    sealed(tmp_path / "idx")
    with pytest.raises(BadIndex, match="a file chooses no model: give it"):
        part.open(tmp_path / "idx")
    with pytest.raises(WhyrankError):
        part.open(tmp_path / "idx", trust=True)
    assert not ran.exists()


@pytest.mark.parametrize(
    "part",
    [
        {"model": "someone/else"},
        {"model": "./model"},
        {"model": "minilm", "path": "/etc"},
        {"model": "minilm", "device": "cuda:7"},
        {"model": "minilm", "batch_size": 10**9},
        {"model": "minilm", "_vectors": 1},
        {"model": "minilm", "trust_remote_code": True},
    ],
)
def test_only_what_a_file_may_tell_is_taken(tmp_path, part):
    _vectors(tmp_path / "idx", part)
    if part["model"] == "minilm":
        opened = Dense.open(tmp_path / "idx")
        assert (opened.path, opened.device, opened.batch_size) == (str(tmp_path / "idx"), None, 32)
        assert opened.trust_remote_code is False
    else:
        with pytest.raises(BadIndex, match="a file chooses no model"):
            Dense.open(tmp_path / "idx")
    assert Dense.open(tmp_path / "idx", "mine").model == "mine"


@pytest.fixture
def server() -> Iterator[tuple[int, Callable[[], bool]]]:
    """A port, and whether anybody has called there."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)

        def called() -> bool:
            try:
                listening.accept()[0].close()
            except BlockingIOError:
                return False
            return True

        yield listening.getsockname()[1], called


def test_a_tree_calls_no_server_that_its_folder_names(tmp_path, server, monkeypatch):

    monkeypatch.setenv("OPENAI_API_KEY", "sk-VICTIM-SECRET")
    port, called = server
    mine = Fake("50 50 50")
    Tree(mine, path=str(tmp_path / "idx"), encoder=ByWords("words")).index(DOCUMENTS)
    spec = f"tree(openai('gpt-x', base_url='http://127.0.0.1:{port}/v1'), beam=1, sampling=sampling(max_tokens=99))"
    about_as(spec=spec)(tmp_path / "idx")
    with pytest.raises(BadIndex, match="a file chooses no model: give one"):
        Tree.open(tmp_path / "idx").search(QUERIES)
    opened = Tree.open(tmp_path / "idx", mine, encoder=ByWords("words"))
    assert opened.llm is mine and opened.beam == 1 and opened.sampling.max_tokens == 99
    opened.search(QUERIES)
    assert not called()


@pytest.mark.engines
def test_no_code_of_a_model_runs(tmp_path, ran, tiny_lm, evil_model):
    """Pickles for weights, classes of its own: what was repelled stays repelled."""
    from whyrank.llm.transformers import Transformers

    pickled = tmp_path / "pickled"
    shutil.copytree(tiny_lm, pickled)
    for weights in pickled.glob("*.safetensors"):
        weights.unlink()
    code = f"import pathlib; pathlib.Path({str(ran)!r}).write_text('unpickled')"
    (pickled / "pytorch_model.bin").write_bytes(b"cbuiltins\nexec\n(V" + code.encode() + b"\ntR.")
    mapped = tmp_path / "mapped"
    shutil.copytree(tiny_lm, mapped)
    shutil.copy(tmp_path / "payload.py", mapped / "payload.py")
    config = json.loads((mapped / "config.json").read_text())
    classes = {"AutoConfig": "payload.Evil", "AutoModelForCausalLM": "payload.Evil"}
    (mapped / "config.json").write_text(json.dumps(config | {"model_type": "evil", "auto_map": classes}))
    for model in (pickled, mapped):
        with pytest.raises(WhyrankError):
            Transformers(str(model)).generate(tiny.prompts(1))
        with pytest.raises(WhyrankError):
            Dense(str(model)).index(DOCUMENTS)
    with pytest.raises(WhyrankError):
        Dense(str(evil_model)).index(DOCUMENTS)
    assert not ran.exists()


@pytest.mark.parametrize("analyzer", ["payload:go", "payload.go", "os:abort", "fused.payload:go", "payload:X"])
def test_an_index_calls_no_analyzer_that_its_folder_names(tmp_path, ran, analyzer):
    BM25(str(tmp_path / "idx")).index(DOCUMENTS)
    about_as(analyzer=analyzer)(tmp_path / "idx")
    for way in (lambda: BM25.open(tmp_path / "idx"), lambda: BM25(str(tmp_path / "idx")).search(QUERIES)):
        with pytest.raises(BadIndex):
            way()
    assert not ran.exists()


@pytest.mark.parametrize("kind", [Fusion, BM25])
def test_what_a_file_says_is_passed_over_or_fits(kind):
    assert make_from_file({"path": "/etc", "threads": 9, "trust_remote_code": True}, kind, "x") == kind()
    with pytest.raises(BadInput, match=r"^x: "):
        make_from_file({"k": "a", "k1": "a"}, kind, "x")
