"""What docs/simulate.md promises of each strategy holds: exact tops from a model that never errs, calls and rounds."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.registry import make
from whyrank.rerank.base import Request, Reranker
from whyrank.simulate import Case, Noisy, Outcome, Profile, Tokens, simulate
from whyrank.simulate.judge import Meter, judged
from whyrank.types import Document, Query

PAGE = (Path(__file__).parents[2] / "docs" / "simulate.md").read_text(encoding="utf-8")
NOISES = (Noisy(0.0), Noisy(0.15), Noisy(0.3))
SLOW = ("allpair", "sliding", "samples=16", "calls=100")


def rows(heading: str) -> list[list[str]]:
    """The cells of the rows that name a strategy, in the section of that heading."""
    lines = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0].splitlines()
    return [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")
    ]


def spec(cell: str) -> str:
    """`listwise(window=10)` of the page as a spec with a model."""
    name = cell.split("`")[0]

    def with_model(match: re.Match[str]) -> str:
        return f"{match[1]}(fake(){', ' if match[2] else ''}{match[2] or ''})"

    if name.startswith("cascade"):
        return re.sub(r"\blistwise\b", "listwise(fake())", name)
    full = re.sub(r"^(\w+)(?:\((.*)\))?$", with_model, name)
    warm = "refine=" in full or "samples=" in full
    return f"{full[:-1]}, sampling=sampling(temperature=0.6))" if warm else full


EXACT = rows("What is exact")
TABLE = rows("What it costs and what it finds")


def case(utilities: list[float]) -> Case:
    n = len(utilities)
    documents = tuple(Document(f"d{at}", f"{at}.") for at in range(n))
    request = Request(Query("q", "?"), documents, tuple(float(at) for at in range(n, 0, -1)))
    return Case(request, np.array(utilities), {})


def top(reranker: str, utilities: list[float]) -> tuple[tuple[int, ...], Meter]:
    """The order of a real run with a judge that never errs, and what it cost."""
    bench = [Meter(case(utilities), Tokens(), np.random.default_rng(0))]
    (order,) = judged(make(reranker, Reranker), NOISES[0], bench).rank_requests([bench[0].case.request], None)
    return order.ranking, bench[0]


def promised(cell: str, n: int, window: int) -> int:
    """How many of the first are exact."""
    return n if cell == "all" or n <= window else int(cell)


@pytest.mark.parametrize("row", EXACT, ids=lambda row: row[0])
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_the_top_is_exact(row, data):
    n = data.draw(st.integers(0, 40 if "allpair" in row[0] else 100 if "sliding" in row[0] else 250))
    places = data.draw(st.permutations(range(n)))
    utilities = [at / max(n, 1) for at in places]
    ranking, _ = top(spec(row[0]), utilities)
    sure = promised(row[3], n, int(row[4]))
    assert sorted(ranking) == list(range(n))
    assert list(ranking[:sure]) == sorted(range(n), key=lambda at: -utilities[at])[:sure]


def test_all_pairs_of_many():
    utilities = np.random.default_rng(0).permutation(120) / 120
    ranking, meter = top("pairwise(fake(), method='allpair')", utilities.tolist())
    assert list(ranking) == np.argsort(-utilities).tolist() and (meter.calls, meter.rounds) == (120 * 119, 1)


def found(reranker: str, noises: tuple[Noisy, ...], queries: int) -> list[Outcome]:
    return simulate([reranker], Profile().cases(200)[:queries], noises)


@pytest.mark.parametrize("row", [row for row in EXACT if "allpair" not in row[0]], ids=lambda row: row[0])
def test_calls_and_rounds_are_those_of_the_page(row):
    (sure,) = found(spec(row[0]), NOISES[:1], 12)
    for cell, name in ((row[1], "calls"), (row[2], "rounds")):
        mean, *most = map(float, re.findall(r"[\d.]+", cell))
        assert sure.cost(name) == pytest.approx(mean, rel=0.15 if most else 1e-9)
        assert sure.costs[name].max() <= (most[0] if most else mean)


@pytest.mark.parametrize(
    "row", [row for row in TABLE if not any(slow in row[0] for slow in SLOW)], ids=lambda row: row[0]
)
def test_quality_is_that_of_the_page_and_of_the_earlier_simulation(row):
    """A new, smaller sample agrees with the page; the page with the other simulation, where no note says otherwise."""
    for outcome, cell in zip(found(spec(row[0]), NOISES[1:], 12), row[5:7], strict=True):
        mean, margin, *there = map(float, re.findall(r"\d*\.\d+", cell))
        assert abs(outcome.mean - mean) <= 0.01 + 1.6 * float(np.hypot(margin, outcome.margin))
        if there and "†" not in row[0]:
            assert abs(mean - there[0]) <= 0.02 + 1.5 * margin, "a difference that the page does not explain"
