"""A model behind a path is known by its content."""

import os
from pathlib import Path

import pytest

from whyrank.io.weights import SAMPLE, WHOLE, content_of


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "m"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "1_Pooling" / "config.json").write_text('{"pooling": "mean"}')
    (folder / "model.safetensors").write_bytes(os.urandom(WHOLE + 100_000))
    (folder / "README.md").write_text("A model.")
    (folder / ".cache").mkdir()
    return folder


def _moved(model: Path) -> Path:
    return model.rename(model.with_name("other"))


def _touched(model: Path) -> Path:
    for file in model.rglob("*.json"):
        os.utime(file, ns=(1, 1))
    return model


def _told(model: Path) -> Path:
    (model / "README.md").write_text("Another card.")
    (model / ".cache" / "lock").write_text("")
    return model


def _linked(model: Path) -> Path:
    """As the cache of the hub keeps its files."""
    blob = model.parent / "blob"
    (model / "model.safetensors").rename(blob)
    (model / "model.safetensors").symlink_to(blob)
    return model


@pytest.mark.parametrize("change", [_moved, _touched, _told, _linked])
def test_the_same_model_is_known_wherever_it_lies(model, change):
    before = content_of(model)
    assert before and content_of(change(model)) == before


def _noise(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(os.urandom(weights.stat().st_size))


def _noise_in_place(model: Path) -> None:
    """Same size, same name, same file."""
    with (model / "model.safetensors").open("r+b") as file:
        file.write(os.urandom(file.seek(0, 2) or 1))
        file.seek(0)
        file.write(os.urandom(SAMPLE))


def _a_long_run_of_bytes(model: Path) -> None:
    """A change that is long enough meets a sample wherever it lies."""
    with (model / "model.safetensors").open("r+b") as file:
        file.seek(1_234_567)
        file.write(os.urandom(WHOLE // 50))


def _the_last_byte(model: Path) -> None:
    with (model / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))


def _longer(model: Path) -> None:
    with (model / "model.safetensors").open("ab") as file:
        file.write(b"\0")


def _a_setting(model: Path) -> None:
    (model / "1_Pooling" / "config.json").write_text('{"pooling": "last"}')


def _renamed(model: Path) -> None:
    (model / "config.json").rename(model / "configs.json")


def _added(model: Path) -> None:
    (model / "adapter.safetensors").write_bytes(b"x")


def _removed(model: Path) -> None:
    (model / "config.json").unlink()


@pytest.mark.parametrize(
    "change",
    [_noise, _noise_in_place, _a_long_run_of_bytes, _the_last_byte, _longer, _a_setting, _renamed, _added, _removed],
)
def test_another_model_behind_the_same_path_is_another(model, change):
    before = content_of(model)
    change(model)
    assert content_of(model) != before


def test_names_do_not_run_into_contents(tmp_path):
    for folder, name, text in (("a", "x", "1y"), ("b", "x1", "y")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    assert content_of(tmp_path / "a") != content_of(tmp_path / "b")


@pytest.mark.parametrize("name", ["Qwen/Qwen3-8B", "tiny", "", "no/such/folder"])
def test_a_name_on_a_hub_has_none(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert content_of(name or tmp_path / "none") is None


def test_it_is_read_once(model, monkeypatch):
    content_of(model)
    monkeypatch.setattr("builtins.open", lambda *_: pytest.fail("read again"))
    content_of(str(model))
