"""Fixtures that all tests share."""

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported: no test waits for a network

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real collections and published runs; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("WHYRANK_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data at {folder}: set WHYRANK_DATA to a folder with beir/, trec_dl/ and bright/")
    return folder
