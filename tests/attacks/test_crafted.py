"""Index folders as an attacker makes them: a typed error or a ranking, never a signal; see crafted.py."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny

from whyrank.retrieval.tree.shape import Shape

HERE = Path(tiny.__file__).parent

SAYS = re.compile(
    r"weights (of 10\*\*8|of 0|backwards|the last far off|the largest)|counts (backwards|the other way round)|"
    r"lengths backwards|vectors (of -1|of 0|backwards|the last far off|one in the middle negative|the largest)|"
    r"frequencies (of 10\*\*8|of 0|backwards|the last far off)|written .*|written-offsets (of 0|backwards)|"
    r"(texts|sketches) (of 10\*\*8|of 0|backwards|the last far off|one in the middle negative|the other way round)|"
    r"about .*|spec .*|corpus .*|complete True|version True|part .*|good"
)
"""These change what a folder says and not what it is: any ranking of its documents is right. All others are refused."""


def _outcomes(kind: str, folder: Path, model: str) -> dict[str, list[str]]:
    """What came of each crafted folder; the process is started again behind one that a signal ended."""
    found: dict[str, list[str]] = {}
    paths = os.pathsep.join([str(HERE.parents[1]), str(HERE)])
    first, last = 0, -1
    while first > last:
        last = first
        child = subprocess.run(
            [sys.executable, "-W", "ignore", str(HERE / "crafted.py"), kind, str(folder), model, str(first)],
            env=os.environ | {"PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=False,
        )
        for line in child.stdout.splitlines():
            number, name, outcome = json.loads(line)
            found[name] = outcome or [
                f"died by {signal.Signals(-child.returncode).name}" if child.returncode < 0 else "died"
            ]
            first = number + 1
        if child.returncode == 0:
            return found
        assert child.returncode < 0, child.stderr
    return found


@pytest.mark.parametrize(
    ("kind", "many"),
    [
        ("lexical", 200),
        ("vectors", 160),
        ("tree", 250),
        pytest.param("splade", 150, marks=pytest.mark.engines),
        pytest.param("late", 120, marks=pytest.mark.engines),
    ],
)
def test_crafted_folders_are_refused_or_ranked_and_never_end_the_process(kind, many, tmp_path):
    model = {"splade": tiny.sparse_encoder, "late": tiny.multi_vector_encoder}.get(kind)
    found = _outcomes(kind, tmp_path, str(model(tmp_path / "model")) if model else "")
    assert len(found) >= many and set(found["good"]) == {"ran"}
    refused = {"BadIndex", "BadInput", "BadSpec"}
    odd = {name: outcome for name, outcome in found.items() if not set(outcome) <= refused | {"ran"}}
    assert not odd
    passed = [name for name, outcome in found.items() if "ran" in outcome and not SAYS.fullmatch(name)]
    assert not passed


def test_a_deep_chain_of_clusters_is_soon_told():
    many = 200_000
    parents = np.concatenate([np.full(2, 2), np.arange(3, many), [-1]])
    assert Shape(parents, 2).depths.max() == many - 2
