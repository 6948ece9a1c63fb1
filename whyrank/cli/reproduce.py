"""`whyrank reproduce`: published figures, and the small model that comes with whyrank, made again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whyrank.cli.options import AsJson
from whyrank.cli.output import say, say_json, width, without_effect

if TYPE_CHECKING:
    from whyrank.benchmarks import Benchmark, Row

TINY = "tiny"


def reproduce(
    ctx: typer.Context,
    what: Annotated[
        str | None,
        typer.Argument(help="A benchmark, by name or as a .toml file; tiny: the small model that comes with whyrank."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The folder to write; calling again goes on there.")
    ] = None,
    tasks: Annotated[str | None, typer.Option("--tasks", help="Only these, as in biology,pony.")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only so many queries of each; nothing is compared then.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="tiny: of lessons, weights and order.")] = 0,
    recipe: Annotated[
        str, typer.Option("--recipe", help="tiny: how it is trained, a file in whyrank/train/tiny.")
    ] = "tiny.toml",
    json: AsJson = False,
) -> None:
    """Run a benchmark and compare with its published figures; without a name, list what there is and is at hand."""
    from whyrank.benchmarks import read_benchmark
    from whyrank.benchmarks import reproduce as run
    from whyrank.errors import BadInput
    from whyrank.reproduce import tiny

    if what is None:
        without_effect(ctx, "lists what there is", "out", "tasks", "limit", "seed", "recipe")
        _list(json)
        return
    if what == TINY:
        without_effect(ctx, "is of benchmarks, and tiny is trained", "tasks", "limit", "json")
        if out is None:
            raise BadInput("say by -o where the model is to be written, as in whyrank reproduce tiny -o runs/tiny")
        say(tiny(out, seed, recipe))
        return
    without_effect(ctx, "is of tiny", "seed", "recipe")
    wanted = [] if tasks is None else [task.strip() for task in tasks.split(",") if task.strip()]
    rows = [*run(read_benchmark(what), out or "runs", wanted, limit)]
    if json:
        say_json({"rows": [row.to_dict() for row in rows]})
    else:
        _tell(rows)
    if any(row.state == "off" for row in rows):
        raise typer.Exit(1)


def _list(json: bool) -> None:
    from whyrank.benchmarks import names, read_benchmark
    from whyrank.eval.report import grid

    found = [read_benchmark(name) for name in names()]
    if json:
        told = [{"name": one.name, "about": one.about, "figures": one.rows, "lacks": _lacks(one)} for one in found]
        say_json({"benchmarks": told})
        return
    rows = [[one.name, f"{one.rows:,}", _at_hand(one)] for one in found]
    lines = grid(["benchmark", "figures", "at hand"], [*rows, [TINY, "–", "all"]]).splitlines()
    abouts = [
        "",
        "",
        *(one.about for one in found),
        "the small model that comes with whyrank, trained again from a seed",
    ]
    say("\n".join(f"{line}  {about}".rstrip() for line, about in zip(lines, abouts, strict=True)))
    say("\nwhyrank reproduce NAME runs one, and says what is missing and where to put it")


def _lacks(benchmark: "Benchmark") -> list[str]:
    from whyrank.benchmarks import missing

    pairs = [(condition, task) for condition in benchmark.conditions for task in condition.tasks]
    return [*dict.fromkeys(lack for condition, task in pairs if (lack := missing(condition, task)))]


def _at_hand(benchmark: "Benchmark") -> str:
    from whyrank.benchmarks import missing

    pairs = [(condition, task) for condition in benchmark.conditions for task in condition.tasks]
    there = sum(not missing(condition, task) for condition, task in pairs)
    return "all" if there == len(pairs) else "none" if not there else f"{there} of {len(pairs)}"


def _tell(rows: "list[Row]") -> None:
    from collections import Counter

    from whyrank.eval.report import grid

    cells = [
        [
            row.condition,
            row.task,
            row.measure,
            f"{row.expected:.4f}",
            "–" if row.got is None else f"{row.got:.4f}",
            "–" if row.difference is None else f"{row.difference:+.4f}".replace("-0.0000", "+0.0000"),
            row.state,
        ]
        for row in rows
    ]
    say(grid(["condition", "task", "measure", "expected", "got", "Δ", "state"], cells, width()))
    for why in dict.fromkeys(row.why for row in rows if row.why and not row.why.startswith("the mean of")):
        say(f"- {why}")
    counts = Counter(row.state for row in rows)
    say(", ".join(f"{count:,} {state}" for state, count in counts.items()))
