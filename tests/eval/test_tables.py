"""Tables for papers, and values of each query."""

import csv
import json
from pathlib import Path

import pytest
from command_line import call

from whyrank.errors import BadInput
from whyrank.eval import compare, evaluate, per_query, written
from whyrank.io.tables import write_table
from whyrank.types import Run

QRELS = {f"q{at}": {"x": 1} for at in range(12)}
GOOD = evaluate(Run.of({query: ["x", "y"] for query in QRELS}, name="good_one"), QRELS, ["RR", "NumRel", "Hole@2"])
POOR = evaluate(Run.of({query: ["y", "x"] for query in QRELS}, name="a|b & <i>50%</i>"), QRELS, ["RR", "NumRel", "P@1"])


def test_markdown() -> None:
    assert written([GOOD, POOR], "markdown").splitlines() == [
        "| run | RR | NumRel | Hole@2 | P@1 |",
        "| --- | ---: | ---: | ---: | ---: |",
        r"| good\_one | **1.0000** | 12 | 0.5000 | – |",
        r"| a\|b &amp; \<i\>50%\</i\> | 0.5000 | 12 | – | 0.0000 |",
    ]


def test_latex() -> None:
    assert written([GOOD, POOR], "latex", compare([GOOD, POOR])).splitlines() == [
        r"\begin{tabular}{lrrrr}",
        r"\toprule",
        r"run & RR & NumRel & Hole@2 & P@1 \\",
        r"\midrule",
        r"good\_one & \textbf{1.0000} & 12 & 0.5000 & – \\",
        r"a|b \& <i>50\%</i> & 0.5000$^{\dagger}$ & 12 & – & 0.0000 \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"% † differs from good\_one: paired randomisation test, p < 0.05 after Holm",
    ]


def test_values_of_each_query(tmp_path: Path) -> None:
    columns = per_query([GOOD, POOR])
    assert columns["run"] == ["good_one"] * 12 + ["a|b & <i>50%</i>"] * 12
    assert columns["RR"] == [1.0] * 12 + [0.5] * 12 and columns["P@1"] == [None] * 12 + [0.0] * 12
    for ending, separator in ((".csv", ","), (".tsv", "\t")):
        write_table(tmp_path / f"values{ending}", columns)
        rows = [*csv.DictReader((tmp_path / f"values{ending}").open(newline=""), delimiter=separator)]
        first = {"run": "good_one", "query": "q0", "RR": "1.0", "NumRel": "1.0", "Hole@2": "0.5", "P@1": ""}
        assert len(rows) == 24 and rows[0] == first
    parquet = pytest.importorskip("pyarrow.parquet")
    write_table(tmp_path / "values.parquet", columns)
    assert parquet.read_table(tmp_path / "values.parquet").to_pydict() == columns
    with pytest.raises(BadInput, match=r"a table is written as \.csv, \.tsv or \.parquet"):
        write_table(tmp_path / "values.xlsx", columns)
    assert not (tmp_path / "values.xlsx").exists()


def test_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "a.trec").write_text("q Q0 x 1 2 t\n")
    (tmp_path / "b.trec").write_text("q Q0 y 1 2 t\n")
    (tmp_path / "qrels.txt").write_text("q 0 x 1\nq 0 y 0\n")
    runs = ("eval", "a.trec", "b.trec", "--qrels", "qrels.txt", "-m", "RR")
    assert call(tmp_path, *runs, "--markdown").out.splitlines()[2] == "| a | **1.0000** |"
    assert r"a & \textbf{1.0000} \\" in call(tmp_path, *runs, "--latex", "--compare").out
    ended = call(tmp_path, *runs, "--per-query", "out/values.csv", "--json")
    assert json.loads(ended.out)["a"]["RR"] == 1
    assert (tmp_path / "out" / "values.csv").read_text() == "run,query,RR\na,q,1.0\nb,q,0.0\n"
    assert call(tmp_path, *runs, "--latex", "--json").last == "error: one form at a time: --json, --markdown or --latex"
    assert ".csv, .tsv or .parquet" in call(tmp_path, *runs, "--per-query", "values").last


def test_holes_and_capped_recall() -> None:
    grades = {"q": {"a": 1, "b": 2, "c": 1, "d": 0}}
    report = evaluate(Run.of({"q": ["a", "x", "d", "y"]}), grades, ["Hole@2", "Hole@10", "R_cap@2", "r_cap@10", "R@2"])
    third = pytest.approx(1 / 3)
    assert [report[name] for name in ("Hole@2", "Hole@10", "R_cap@2", "R_cap@10")] == [0.5, 0.5, 0.5, third]
    assert report["R@2"] == pytest.approx(1 / 3)
    level2 = evaluate(Run.of({"q": ["b", "a"]}), grades, ["R_cap(rel=2)@5"])
    assert level2["R_cap(rel=2)@5"] == 1
    tied = evaluate(Run.of({"q": {"a": 1.0, "x": 1.0}}), grades, ["Hole@1", "R_cap@1"], ties="expected")
    assert tied["Hole@1"] == tied["R_cap@1"] == 0.5
    with pytest.raises(BadInput, match="Hole takes a cut-off as in Hole@10"):
        evaluate(Run.of({"q": ["a"]}), grades, "Hole")
