"""The examples of the page on frameworks, each where its framework is installed."""

import os
import re
from pathlib import Path

import pytest

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"

PAGE = Path(__file__).parents[2] / "docs" / "frameworks.md"
EXAMPLES = re.findall(r"^```python no-run (\S+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("framework", "block"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_the_example_runs(framework, block):
    pytest.importorskip(framework, reason=f"{framework} is not installed (dependency group serve-frameworks)")
    exec(compile(block, str(PAGE), "exec"), {"__name__": "page"})
