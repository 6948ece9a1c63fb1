"""`whyrank reproduce`: published figures, the small model that comes with whyrank, and rankers out of another."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whyrank.cli.options import AsJson
from whyrank.cli.output import say, say_json, width, without_effect

if TYPE_CHECKING:
    from whyrank.benchmarks import Benchmark, Row

TRAINED = {
    "tiny": "the small model that comes with whyrank, trained again from a seed",
    "smollm2": "rankers of real text out of a small language model, trained and measured",
}
"""What is made by training, and what it is."""


def reproduce(
    ctx: typer.Context,
    what: Annotated[
        str | None,
        typer.Argument(
            help="A benchmark, by name or as a .toml file; tiny: the small model that comes with whyrank; smollm2: "
            "rankers of real text, and their figures."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The folder to write; calling again goes on there.")
    ] = None,
    tasks: Annotated[str | None, typer.Option("--tasks", help="Only these, as in biology,pony.")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only so many queries of each; nothing is compared then.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="tiny, smollm2: of lessons, weights and order.")] = 0,
    recipe: Annotated[
        str, typer.Option("--recipe", help="tiny: how it is trained, a file in whyrank/train/tiny.")
    ] = "tiny.toml",
    share: Annotated[
        float, typer.Option("--share", min=0.0, max=1.0, help="smollm2: of lists, steps and test queries; a trial.")
    ] = 1.0,
    depth: Annotated[
        int, typer.Option("--depth", min=2, help="smollm2: how many documents of a test query are reranked.")
    ] = 50,
    json: AsJson = False,
) -> None:
    """Run a benchmark and compare with its published figures; without a name, list what there is and is at hand."""
    from whyrank.benchmarks import read_benchmark
    from whyrank.benchmarks import reproduce as run

    if what is None:
        without_effect(ctx, "lists what there is", "out", "tasks", "limit", "seed", "recipe", "share", "depth")
        _list(json)
        return
    if what in TRAINED:
        _train(ctx, what, out, seed, recipe, share, depth)
        return
    without_effect(ctx, "is of what is trained", "seed", "recipe", "share", "depth")
    wanted = [] if tasks is None else [task.strip() for task in tasks.split(",") if task.strip()]
    rows = [*run(read_benchmark(what), out or "runs", wanted, limit)]
    if json:
        say_json({"rows": [row.to_dict() for row in rows]})
    else:
        _tell(rows)
    if any(row.state == "off" for row in rows):
        raise typer.Exit(1)


def _train(ctx: typer.Context, what: str, out: Path | None, seed: int, recipe: str, share: float, depth: int) -> None:
    from whyrank.errors import BadInput

    without_effect(ctx, f"is of benchmarks, and {what} is trained", "tasks", "limit", "json")
    if out is None:
        raise BadInput(f"say by -o where it is to be written, as in whyrank reproduce {what} -o runs/{what}")
    if what == "tiny":
        from whyrank.reproduce.tiny import tiny

        without_effect(ctx, "is of smollm2", "share", "depth")
        say(tiny(out, seed, recipe))
    else:
        from whyrank.reproduce.smollm2 import smollm2

        without_effect(ctx, "is of tiny", "recipe")
        say(smollm2(out, seed, share, depth).read_text(encoding="utf-8"))


def _list(json: bool) -> None:
    from whyrank.benchmarks import names, read_benchmark
    from whyrank.eval.report import grid

    found = [read_benchmark(name) for name in names()]
    if json:
        told = [{"name": one.name, "about": one.about, "figures": one.rows, "lacks": _lacks(one)} for one in found]
        say_json({"benchmarks": told})
        return
    rows = [[one.name, f"{one.rows:,}", _at_hand(one)] for one in found]
    lines = grid(["benchmark", "figures", "at hand"], [*rows, *([name, "–", "all"] for name in TRAINED)]).splitlines()
    abouts = [
        "",
        "",
        *(one.about for one in found),
        *TRAINED.values(),
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
