"""`whyrank simulate`: what rerankers would cost and find."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whyrank.cli.options import AsJson, Split
from whyrank.cli.output import say, say_json, width, without_effect
from whyrank.progress import show

if TYPE_CHECKING:
    from whyrank.simulate import Outcome


def simulate(
    ctx: typer.Context,
    specs: Annotated[list[str], typer.Argument(help="Rerankers, such as listwise(fake()); the model may be any.")],
    noise: Annotated[
        list[str] | None,
        typer.Option(
            "--noise", help="How the model errs; else noisy(), that is noisy(sigma=0.15). Several may be given."
        ),
    ] = None,
    candidates: Annotated[int, typer.Option("--candidates", help="How many each query has.")] = 100,
    relevant: Annotated[float, typer.Option("--relevant", help="The share of relevant candidates.")] = 0.05,
    first_stage: Annotated[float, typer.Option("--first-stage", help="nDCG@10 of the first stage.")] = 0.476,
    queries: Annotated[int, typer.Option("--queries", help="How many queries are drawn.")] = 200,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of all that is drawn.")] = 0,
    data: Annotated[str | None, typer.Option("--data", help="Real judgements instead, of this data set.")] = None,
    run: Annotated[Path | None, typer.Option("--run", help="A first stage of --data; else its candidates.")] = None,
    depth: Annotated[int, typer.Option("--depth", min=1, help="How many documents of --run to rerank.")] = 100,
    measure: Annotated[str, typer.Option("-m", "--measure", help="Of quality.")] = "nDCG@10",
    passage_tokens: Annotated[int, typer.Option("--passage-tokens", min=0, help="Tokens of a passage.")] = 285,
    query_tokens: Annotated[int, typer.Option("--query-tokens", min=0, help="Tokens of a query.")] = 100,
    thought_tokens: Annotated[int, typer.Option("--thought-tokens", min=0, help="Of a thought about a list.")] = 750,
    short_thought_tokens: Annotated[
        int, typer.Option("--short-thought-tokens", min=0, help="Of a thought about one passage or two.")
    ] = 400,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw the frontier: an .svg, .png or .pdf file.")] = None,
    split: Split = None,
    json: AsJson = False,
) -> None:
    """Say what rerankers would cost and find, before a model is paid: calls, rounds, tokens and quality under noise."""
    from whyrank import simulate as simulation
    from whyrank.datasets import load
    from whyrank.errors import BadInput
    from whyrank.experiment import open_run
    from whyrank.registry import make

    if data is None:
        if run is not None:
            raise BadInput("--run is a first stage of real queries: say by --data who judged them")
        without_effect(ctx, "is of --data: without it queries are drawn", "depth", "split")
        cases = simulation.Profile(candidates, relevant, first_stage).cases(queries, seed)
    else:
        drawn = ("candidates", "relevant", "first_stage", "queries")
        without_effect(ctx, "is of queries that are drawn: those of --data are as they are", *drawn)
        judged = load(data, split=split)
        first = open_run(run) if run is not None else judged.candidates
        if first is None:
            raise BadInput(f"{data} publishes no candidates: give a first stage by --run")
        cases = simulation.from_run(first.without(judged.queries), judged.qrels, depth, seed)
    show(False)  # each reranker is told of as it ends; its calls take no time
    tokens = simulation.Tokens(passage_tokens, query_tokens, thought_tokens, short_thought_tokens)
    noises = [make(one, simulation.Noisy) for one in noise or ["noisy()"]]
    outcomes = simulation.simulate(specs, cases, noises, measure, tokens, seed, on_outcome=_tell_outcome)
    if plot is not None:
        from whyrank.simulate.plot import plot as draw

        draw(outcomes, plot)
    if json:
        say_json([outcome.to_dict() for outcome in outcomes])
    else:
        say(simulation.table(outcomes, width()))


def _tell_outcome(outcome: "Outcome") -> None:
    if sys.stderr.isatty():
        say(f"{outcome.spec} under {outcome.noise}: {outcome.mean:.3f}", err=True)
