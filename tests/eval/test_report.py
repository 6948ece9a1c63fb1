"""Reports: means, JSON and tables."""

import json

import pytest

from whyrank.errors import BadInput
from whyrank.eval import evaluate, table
from whyrank.types import Run

QRELS = {"a": {"x": 1}, "b": {"y": 1}, "c": {"z": 1}}
WHOLE = evaluate(Run.of({"a": ["x"], "b": ["w", "y"], "c": ["z"]}, name="whole"), QRELS, ["nDCG@10", "RR@10"])
PART = evaluate(Run.of({"a": {"x": 1.0, "w": 1.0}, "e": ["x"]}, name="part"), QRELS, ["RR@10", "AP"])


def test_a_report_is_asked_for_a_measure():
    assert WHOLE["RR@10"] == pytest.approx(2.5 / 3) and PART["AP"] == 1 / 3
    with pytest.raises(BadInput, match="the report of 'whole' has no 'AP': it has nDCG@10, RR@10"):
        WHOLE["AP"]


def test_a_report_printed():
    assert str(WHOLE).splitlines() == [
        "run    nDCG@10   RR@10  queries  judged@10  ties",
        "─────  ───────  ──────  ───────  ─────────  ────",
        "whole   0.8770  0.8333        3      83.3%     0",
    ]


def test_runs_side_by_side():
    assert table([WHOLE, PART]).splitlines() == [
        "run    nDCG@10            RR@10               AP  queries  judged@10  ties",
        "─────  ───────  ───────────────  ───────────────  ───────  ─────────  ────",
        "whole   0.8770           0.8333                –        3      83.3%     0",
        "part         –  0.3333 (1.0000)  0.3333 (1.0000)      1/3      50.0%     1",
        "(in brackets: the mean over the judged queries that the run ranks; the others count 0)",
        "part: 1 query (e) not judged, left out",
        "part: 2 queries (b, c) missing, counted 0",
    ]


def test_a_report_as_json():
    given = json.loads(PART.to_json())
    assert given == PART.to_dict()
    assert given["means"] == {"RR@10": 1 / 3, "AP": 1 / 3} and given["means_ranked"] == {"RR@10": 1, "AP": 1}
    assert (given["name"], given["queries"], given["missing"], given["unjudged"]) == ("part", 3, ["b", "c"], ["e"])
    assert given["per_query"]["AP"] == {"a": 1, "b": 0, "c": 0} and given["ties"] == 1
