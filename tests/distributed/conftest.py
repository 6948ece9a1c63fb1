"""A small task, and workers that find the helpers."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from in_chunks import write_task


@pytest.fixture(scope="session", autouse=True)
def helpers() -> Iterator[None]:
    """Workers find `counting` as this process does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="session")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data` in BEIR's layout and a first stage, `first.trec`, with ties in it."""
    return write_task(tmp_path_factory.mktemp("task"))
