"""Reports as tables for other papers and programs: Markdown, LaTeX, and one line for each query."""

import re
from collections.abc import Callable, Sequence
from typing import Literal

from whyrank.eval.compare import Comparison
from whyrank.eval.report import Report
from whyrank.terminal import line

Form = Literal["markdown", "latex"]

DAGGER = "†"
_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
})  # fmt: skip
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#|!~])")


def written(reports: Sequence[Report], form: Form, comparison: Comparison | None = None) -> str:
    """A line for each run, a column for each measure; the best value of each is bold, where more is better.

    Args:
        reports: the runs.
        form: "markdown" or "latex" (with booktabs).
        comparison: a dagger marks what differs significantly from its baseline, after Holm's correction.
    """
    measures = list(dict.fromkeys(measure for report in reports for measure in report.means))
    bold, quote = (_bold_latex, _quote_latex) if form == "latex" else (_bold_markdown, _quote_markdown)
    marked = _significant(comparison)
    rows = [
        [quote(report.name), *(_cell(reports, report, measure, marked, bold) for measure in measures)]
        for report in reports
    ]
    head = ["run", *map(quote, measures)]
    told = [] if comparison is None else [_against(comparison)]
    if form == "latex":
        body = [" & ".join(row).replace(DAGGER, r"$^{\dagger}$") + r" \\" for row in rows]
        lines = [rf"\begin{{tabular}}{{l{'r' * len(measures)}}}", r"\toprule", " & ".join(head) + r" \\", r"\midrule"]
        return "\n".join([*lines, *body, r"\bottomrule", r"\end{tabular}", *(f"% {_quote_latex(one)}" for one in told)])
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---", *["---:"] * len(measures)], *rows)]
    return "\n".join([*lines, *(f"\n{_quote_markdown(one)}" for one in told)])


def per_query(reports: Sequence[Report]) -> dict[str, list[str | float | None]]:
    """Columns `run`, `query` and one for each measure, with a value for each run and judged query."""
    measures = list(dict.fromkeys(measure for report in reports for measure in report.means))
    pairs = [(report, query) for report in reports for query in report.queries]
    columns: dict[str, list[str | float | None]] = {
        "run": [report.name for report, _ in pairs],
        "query": [query for _, query in pairs],
    }
    for measure in measures:
        columns[measure] = [report.per_query.get(measure, {}).get(query) for report, query in pairs]
    return columns


def _significant(comparison: Comparison | None) -> set[tuple[str, str]]:
    contrasts = () if comparison is None else comparison.contrasts
    level = 1 - (comparison.confidence if comparison else 0)
    return {(one.run, one.measure) for one in contrasts if one.p_holm < level}


def _cell(
    reports: Sequence[Report], report: Report, measure: str, marked: set[tuple[str, str]], bold: Callable[[str], str]
) -> str:
    if measure not in report.means:
        return "–"
    shown = [f"{one.means[measure]:.4f}" for one in reports if measure in one.means]
    text = f"{report.means[measure]:,.0f}" if measure in report.counts else f"{report.means[measure]:.4f}"
    compares = len(shown) > 1 and measure not in report.counts and not measure.startswith(("Hole", "Judged"))
    best = compares and text == max(shown, key=float)
    return (bold(text) if best else text) + (DAGGER if (report.name, measure) in marked else "")


def _against(comparison: Comparison) -> str:
    level = 1 - comparison.confidence
    return f"{DAGGER} differs from {comparison.baseline}: paired randomisation test, p < {level:.2g} after Holm"


def _bold_markdown(text: str) -> str:
    return f"**{text}**"


def _bold_latex(text: str) -> str:
    return rf"\textbf{{{text}}}"


def _quote_markdown(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", line(text)).replace("&", "&amp;")


def _quote_latex(text: str) -> str:
    return line(text).translate(_LATEX)
