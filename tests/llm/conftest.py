"""A server of a tiny model, started once for all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from vllm_server import Server, serving


@pytest.fixture(scope="session")
def server(tiny_lm: Path, vllm_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """vLLM's server of a model of random weights."""
    parser = ("--reasoning-parser", "qwen3")
    with serving(str(tiny_lm), tmp_path_factory.mktemp("server") / "log.txt", *parser) as server:
        yield server
