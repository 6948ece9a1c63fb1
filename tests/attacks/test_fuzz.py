"""The fuzzers, for some seconds each, and all that they ever found."""

import random
import re
import warnings
from pathlib import Path

import pytest

from tests.attacks.fuzz import answers, files, servers, specs
from tests.attacks.fuzz.drive import SEEDS, Target

TARGETS = [*files.TARGETS, *servers.TARGETS, *answers.TARGETS, *specs.TARGETS]
KEPT = [(target, file) for target in TARGETS for file in target.kept]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_nothing_is_found_in_a_short_hunt(target: Target) -> None:
    with warnings.catch_warnings(action="ignore"):
        for seed in target.seeds:
            target.check(seed)
        finding = target.hunt(25, seed=random.randrange(1 << 30))
    if finding is not None:
        raise AssertionError(f"{finding.data!r}") from finding.error


@pytest.mark.parametrize(("target", "file"), KEPT, ids=lambda one: getattr(one, "name", ""))
def test_what_was_found_once_is_mended(target: Target, file) -> None:
    with warnings.catch_warnings(action="ignore"):
        target.check(file.read_bytes())


def test_all_that_is_kept_is_read_again() -> None:
    assert {folder.name for folder in SEEDS.iterdir()} <= {target.name for target in TARGETS}


def test_the_hunt_finds_what_is_there() -> None:
    def check(data: bytes) -> None:
        if b"\x1b" in data:
            raise ZeroDivisionError

    finding = Target("self", check, (b"good",)).hunt(400, 0)
    assert finding is not None and b"\x1b" in finding.data and isinstance(finding.error, ZeroDivisionError)


def test_each_promise_of_the_page_names_tests_that_are_there() -> None:
    here = Path(__file__).parent
    page = (here.parent.parent / "docs" / "security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .* \| (.*`test_.*) \|$", page, re.MULTILINE)
    assert len(rows) > 15
    for row in rows:
        files = re.findall(r"`([\w/]*test_\w+\.py)`", row)
        tests = re.findall(r"`(test_\w+)`", row)
        sources = [((here.parent if "/" in file else here) / file).read_text(encoding="utf-8") for file in files]
        assert files and all(any(f"def {name}" in source for source in sources) for name in tests), row
    for module in re.findall(r"python -m (tests\.attacks\.fuzz\.\w+)", page):
        assert (here.parent.parent / f"{module.replace('.', '/')}.py").is_file()
