"""What an evaluation found, as an object, as text and as JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from whyrank.errors import BadInput
from whyrank.eval.spelling import canonical
from whyrank.notebook import html_table
from whyrank.terminal import line


@dataclass(frozen=True)
class Report:
    """The scores of one run: `report["nDCG@10"]` is the mean over all judged queries, `print(report)` shows all.

    Attributes:
        name: the run's name.
        per_query: `{measure: {query: value}}` for every judged query, 0 where the run has no documents for it.
        missing: judged queries for which the run has no documents.
        unjudged: queries of the run that nobody judged; they are left out.
        without_relevant: judged queries without a relevant document (no grade above 0); as in trec_eval they count.
        ties: entries of judged queries with the same score as the entry above; in a file that was read, their order is
            that of the document ids.
        entries: how many entries the run has for judged queries.
        judged_share: how many of the first 10 documents are judged, a mean over queries, in [0, 1].
        counts: the measures that count (`NumRel`, …): `means` and `means_ranked` have their sums.
        remarks: what makes the figures doubtful, in sentences: ties that decide, documents that nobody judged.
        protocol: `Qrels.protocol` of the judgements: figures of different ones do not compare.
    """

    name: str
    per_query: Mapping[str, Mapping[str, float]]
    missing: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()
    without_relevant: tuple[str, ...] = ()
    ties: int = 0
    entries: int = 0
    judged_share: float = 0.0
    counts: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    protocol: str = ""

    def __getitem__(self, measure: str) -> float:
        """The mean over all judged queries, or the sum of a count; in any spelling that `evaluate` takes.

        Raises:
            BadInput: the measure was not computed.
        """
        name = measure if measure in self.means else canonical(measure)
        if name not in self.means:
            raise BadInput(f"the report of {self.name!r} has no {measure!r}: it has {', '.join(self.means)}")
        return self.means[name]

    @property
    def queries(self) -> tuple[str, ...]:
        """The judged queries."""
        return tuple(next(iter(self.per_query.values())))

    @cached_property
    def means(self) -> dict[str, float]:
        """The mean of each measure over all judged queries; missing ones count 0. Of counts, the sum."""
        return {measure: self._mean(measure, list(values.values())) for measure, values in self.per_query.items()}

    @cached_property
    def means_ranked(self) -> dict[str, float]:
        """The mean of each measure over the judged queries for which the run has documents."""
        missing = set(self.missing)
        return {
            measure: self._mean(measure, [value for query, value in values.items() if query not in missing])
            for measure, values in self.per_query.items()
        }

    @property
    def coverage(self) -> dict[str, Any]:
        """How far the judgements cover the run, in plain dictionaries and lists."""
        return {
            "queries": len(self.queries),
            "missing": list(self.missing),
            "unjudged": list(self.unjudged),
            "without_relevant": list(self.without_relevant),
            "ties": self.ties,
            "entries": self.entries,
            "judged_share": self.judged_share,
            "remarks": list(self.remarks),
        }

    def to_dict(self) -> dict[str, Any]:
        """All there is, in plain dictionaries and lists."""
        return {
            "name": self.name,
            "means": self.means,
            "means_ranked": self.means_ranked,
            **self.coverage,
            "per_query": {measure: dict(values) for measure, values in self.per_query.items()},
        }

    def to_json(self) -> str:
        """All there is, as one JSON object."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def __str__(self) -> str:
        """A small table."""
        return table([self])

    def __repr__(self) -> str:
        """Name and means."""
        means = ", ".join(f"{measure}={mean:.4g}" for measure, mean in self.means.items())
        return f"Report({self.name!r}, {means}, {len(self.queries):,} queries)"

    def _repr_html_(self) -> str:
        """A table, for notebooks."""
        head = ["run", *self.means, "queries", "judged@10"]
        means = (f"{mean:.4f}" for mean in self.means.values())
        return html_table(head, [[self.name, *means, f"{len(self.queries):,}", f"{self.judged_share:.0%}"]])

    def _mean(self, measure: str, values: Sequence[float]) -> float:
        total = math.fsum(values)
        return total if measure in self.counts else total / len(values) if values else 0.0


def table(reports: Sequence[Report], width: int | None = None) -> str:
    """One line for each run: both means of every measure, and how far the judgements cover the run.

    The first mean is over all judged queries; the one in brackets, where it differs, over those that the run ranks.
    Where the table is wider than `width`, names of runs stand above their figures.
    """
    measures = list(dict.fromkeys(measure for report in reports for measure in report.means))
    head = ["run", *measures, "queries", "judged@10", "ties"]
    lines = [grid(head, [_row(report, measures) for report in reports], width)]
    lines += [f"protocol: {line(one)}" for one in dict.fromkeys(report.protocol for report in reports) if one]
    if any(report.missing for report in reports):
        lines.append("(in brackets: the mean over the judged queries that the run ranks; the others count 0)")
    lines += [
        f"{line(report.name)}: {_some(report.unjudged)} not judged, left out" for report in reports if report.unjudged
    ]
    lines += [
        f"{line(report.name)}: {_some(report.missing)} missing, counted 0" for report in reports if report.missing
    ]
    return "\n".join(lines)


def grid(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Text in columns: the first flush left, the others flush right, a rule under the head.

    Where that is wider than `width` characters, what stands in the first column gets lines of its own.
    """
    lines = [[line(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[at]) for row in lines) for at in range(len(head))]
    if width is None or sum(widths) + 2 * len(widths) - 2 <= width:
        lines.insert(1, ["─" * wide for wide in widths])
        return "\n".join("  ".join(_set(row, widths)).rstrip() for row in lines)
    figures = [0, *widths[1:]]
    first, *rest = ["  ".join(_set(["", *row[1:]], figures)).rstrip() for row in lines]
    rule = "  ".join("─" * wide for wide in figures)
    below = [part for row, told in zip(lines[1:], rest, strict=True) for part in (row[0], told)]
    return "\n".join([lines[0][0], first, rule, *below])


def _row(report: Report, measures: Sequence[str]) -> list[str]:
    ranked = len(report.queries) - len(report.missing)
    queries = f"{ranked}/{len(report.queries)}" if report.missing else str(ranked)
    cells = [_cell(report, measure) for measure in measures]
    return [report.name, *cells, queries, f"{report.judged_share:.1%}", str(report.ties)]


def _cell(report: Report, measure: str) -> str:
    if measure not in report.means:
        return "–"
    form = ",.0f" if measure in report.counts else ".4f"
    beside = f" ({report.means_ranked[measure]:{form}})" if report.missing else ""
    return f"{report.means[measure]:{form}}{beside}"


def _some(queries: Sequence[str]) -> str:
    shown = ", ".join(map(line, queries[:3])) + (", …" if len(queries) > 3 else "")
    return f"{len(queries)} {'query' if len(queries) == 1 else 'queries'} ({shown})"


def _set(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
