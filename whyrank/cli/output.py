"""What verbs print, and what they refuse."""

import sys
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

import typer

from whyrank.progress import warn
from whyrank.terminal import json_text, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from whyrank.experiment import Result
    from whyrank.llm.ledger import Prices
    from whyrank.train.trainer import Trained


def say(text: object, *, err: bool = False) -> None:
    """Print text, on stderr if `err`; nothing in it steers the terminal."""
    typer.echo(plain(text), err=err)


def width() -> int | None:
    """The columns of the terminal, which tables keep to; None where stdout is none."""
    return get_terminal_size().columns if sys.stdout.isatty() else None


def say_json(value: object) -> None:
    """Print one JSON value on one line of stdout."""
    import json

    typer.echo(json_text(json.dumps(value, ensure_ascii=False)))


def tell_trained(trained: "Trained", json: bool) -> None:
    """Say what was trained, on what, and how good it is."""
    if json:
        say_json({"model": str(trained.model), **trained.report})
        return
    say(f"{trained.model}: {trained.report['steps']:,} steps in {trained.report['seconds']:,} s")
    for source, counts in trained.report["sources"].items():
        say(f"{source}: " + ", ".join(f"{outcome} {count:,}" for outcome, count in counts.items()))
    if groups := trained.report.get("groups"):
        dropped = trained.report["dropped_groups"]
        say(f"groups: {groups:,}, of which {dropped:,} taught nothing, their completions being worth the same")
    if held_out := trained.report["held_out"]:
        say("held out: " + ", ".join(f"{name} {value:.4f}" for name, value in held_out.items()))


def tell(result: "Result", json: bool) -> None:
    """Say what a run folder holds now."""
    tell_done(result.folder, result.report, json)


def tell_done(folder: Path, report: "Mapping[str, Any]", json: bool) -> None:
    """Say what a run folder with this report holds."""
    if json:
        say_json({"folder": str(folder), **report})
        end_unanswered(report, folder / "run.trec")
        return
    lines = [f"{folder}: {report['queries']:,} queries, {report['entries']:,} entries"]
    if calls := report.get("calls"):
        lines.append("model calls: " + ", ".join(f"{status} {count:,}" for status, count in calls.items()))
    if rewrites := report.get("rewrites"):
        lines.append("queries: " + ", ".join(f"{outcome} {count:,}" for outcome, count in rewrites.items()))
    lines += [f"{name} lacks {count:,} queries" for name, count in report.get("lacks", {}).items() if count]
    if tuned := report.get("tuned"):
        where = f"{tuned['measure']} on {tuned['queries']:,} queries of {tuned['data']}, {tuned['split']}"
        lines.append(f"{report['spec']}: {tuned['value']:.4f} {where} ({tuned['equal_weights']:.4f} evenly)")
    if empty := report.get("empty"):
        lines.append(f"nothing was found for {empty:,} of the queries")
    say("\n".join(lines))
    end_unanswered(report, folder / "run.trec")


def tell_made(file: Path, report: "Mapping[str, Any]", json: bool) -> None:
    """Say what a synthesis made."""
    if json:
        say_json({"file": str(file), **report})
        end_unanswered(report, file)
        return
    say(f"{file}: {report['made']:,} made of {report['read']:,} tasks")
    for name, title in (("dropped", "attempts dropped"), ("counts", "also"), ("calls", "model calls")):
        if counts := report[name]:
            say(f"{title}: " + ", ".join(f"{what} {count:,}" for what, count in counts.items()))
    if not report["made"]:
        warn(f"nothing was made of {report['read']:,} tasks: {file.parent / 'dropped.jsonl'} says why")
    end_unanswered(report, file)


def end_unanswered(report: "Mapping[str, Any]", file: Path) -> None:
    """Where model calls failed for a reason that may pass, say so last of all, and exit with 3.

    Args:
        report: has them as `unanswered`.
        file: what was written all the same.
    """
    if failed := report.get("unanswered"):
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in failed.items())
        calls = report.get("calls", {})
        if calls and calls.get("failed") == sum(calls.values()):
            told = f"every model call failed ({kinds}), and {file} is the order that came in, unchanged"
        else:
            told = f"{sum(failed.values()):,} model calls failed ({kinds}), and {file} is what came out without them"
        say(f"unfinished: {told}: the same command asks them again, and no answered one", err=True)
        raise typer.Exit(3)


def without_effect(ctx: typer.Context, why: str, *options: str) -> None:
    """Refuse those of these options that were given."""
    from whyrank.errors import BadInput

    for option in options:
        if (source := ctx.get_parameter_source(option)) is not None and source.name == "COMMANDLINE":
            name = "-m" if option == "measure" else f"--{option.replace('_', '-')}"
            raise BadInput(f"{name} has no effect here: it {why}")


def trusts(trust: Path | None, folder: Path) -> bool:
    """Whether --trust names the folder that is read; says what that allows.

    Raises:
        BadInput: it names another one.
    """
    from whyrank.errors import BadInput

    if trust is None:
        return False
    if trust.resolve() != folder.resolve():
        raise BadInput(f"--trust names {trust}, and what is read here is {folder}")
    say(f"{folder} is trusted, this once: what its manifest.json names is imported and run", err=True)
    return True


def prices_of(file: Path | None) -> "Prices | None":
    """The table of --prices."""
    from whyrank.llm.ledger import Prices

    return None if file is None else Prices.read(file)
