"""The command line: thin verbs over `experiment`, `eval` and `datasets`. Heavy imports wait inside the verbs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whyrank.errors import BudgetSpent, WhyrankError
from whyrank.progress import show

if TYPE_CHECKING:
    from whyrank.experiment import Result
    from whyrank.llm.ledger import Prices
    from whyrank.simulate import Outcome
    from whyrank.train.trainer import Trained

app = typer.Typer(
    name="whyrank",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"whyrank {version('whyrank')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Retrieval and reranking that reason, and say why."""
    show()


RUN = "a run folder, a TREC run, JSON scores, or candidates with text (.jsonl)"

Data = Annotated[str, typer.Option("--data", help="A data set: a name such as beir/scifact, or a folder.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="The run folder to write; calling again goes on there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]
Split = Annotated[
    str | None,
    typer.Option("--split", help="Which judgements: test, dev or train; else test, or the only ones there are."),
]
MaxCost = Annotated[
    float | None, typer.Option("--max-cost", min=0, help="Stop once model calls cost this much; wants --prices.")
]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", min=0, help="Stop once model calls took so many tokens.")
]
PriceTable = Annotated[Path | None, typer.Option("--prices", help="Prices by model, a TOML or JSON file.")]


def main() -> None:
    """Run the command line; errors that whyrank raises on purpose, and those of files, become one line on stderr."""
    try:
        app()
    except BudgetSpent as error:
        typer.echo(f"stopped: {error}", err=True)
        sys.exit(3)
    except WhyrankError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        if error.filename is None:
            raise
        typer.echo(f"error: cannot read or write {error.filename}: {error.strerror}", err=True)
        sys.exit(1)


@app.command()
def index(
    spec: Annotated[str, typer.Argument(help="A retriever, such as bm25() or dense('minilm').")],
    data: Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="The index folder to write.")],
) -> None:
    """Index a collection and save the index; search it with, for example, bm25(path='FOLDER')."""
    from whyrank.datasets import load
    from whyrank.registry import make
    from whyrank.retrieval.base import Retriever

    retriever = make(spec, Retriever)  # type: ignore[type-abstract]
    corpus = load(data).corpus
    retriever.at(out).index(corpus)
    typer.echo(f"{out}: {len(corpus):,} documents indexed by {retriever!r}")


@app.command()
def search(
    spec: Annotated[str, typer.Argument(help="A retriever, such as bm25() or dense('minilm').")],
    data: Data,
    out: Out,
    k: Annotated[int, typer.Option("-k", min=1, help="How many documents for each query.")] = 100,
    rewrites: Annotated[
        Path | None,
        typer.Option(
            "--rewrites", help="Search for rewritten queries instead: JSON, {text or id of a query: its new text}."
        ),
    ] = None,
    max_cost: MaxCost = None,
    max_tokens: MaxTokens = None,
    prices: PriceTable = None,
    split: Split = None,
    json: AsJson = False,
) -> None:
    """Search all queries of a data set."""
    from whyrank import experiment
    from whyrank.datasets import load
    from whyrank.registry import make
    from whyrank.retrieval.base import Retriever

    retriever = make(spec, Retriever)  # type: ignore[type-abstract]
    if rewrites is not None:
        from whyrank.retrieval.rewrite import FromFile, Rewritten

        retriever = Rewritten(retriever, FromFile(str(rewrites)))
    limits = experiment.Limits(_prices(prices), max_cost, max_tokens)
    _tell(experiment.search(retriever, load(data, split=split), out, k, limits), json)


@app.command()
def rerank(
    ctx: typer.Context,
    run: Annotated[Path, typer.Argument(help=f"The first stage: {RUN}.")],
    spec: Annotated[str, typer.Argument(help="A reranker, such as listwise(vllm('Qwen/Qwen3-8B')).")],
    out: Out,
    data: Annotated[
        str | None, typer.Option("--data", help="A data set: a name or a folder; candidates with text need none.")
    ] = None,
    depth: Annotated[int, typer.Option("--depth", min=1, help="How many documents of each query to rerank.")] = 100,
    max_cost: MaxCost = None,
    max_tokens: MaxTokens = None,
    prices: PriceTable = None,
    split: Split = None,
    json: AsJson = False,
) -> None:
    """Rerank a run; stopped at any point, the same command goes on and repeats no finished model call."""
    from whyrank import experiment
    from whyrank.datasets import load
    from whyrank.registry import make
    from whyrank.rerank.base import Reranker

    reranker = make(spec, Reranker)  # type: ignore[type-abstract]
    limits = experiment.Limits(_prices(prices), max_cost, max_tokens)
    if data is None:
        _without_effect(ctx, "is of --data", "split")
    texts = None if data is None else load(data, split=split)
    _tell(experiment.rerank(run, reranker, texts, out, depth, limits), json)


@app.command()
def explain(
    ctx: typer.Context,
    run: Annotated[Path, typer.Argument(help="The folder of a reranked run.")],
    query: Annotated[
        str | None, typer.Option("--query", "-q", help="The query's id; needed where the run has more than one.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many documents to show.")] = 10,
    thoughts: Annotated[bool, typer.Option("--thoughts", help="Show whole thoughts, too.")] = False,
    data: Annotated[
        str | None, typer.Option("--data", help="Where texts are taken from, if not from the run's own data set.")
    ] = None,
    split: Split = None,
    json: AsJson = False,
) -> None:
    """Say why a reranked run ranks the documents of a query as it does, and what that took."""
    from rich.console import Console

    from whyrank import experiment
    from whyrank.datasets import load
    from whyrank.rerank.explain import explanation

    if data is None:
        _without_effect(ctx, "is of --data", "split")
    ranked = experiment.explain(run, query, None if data is None else load(data, split=split))
    if json:
        typer.echo(_json(ranked.to_dict(top)))
    elif sys.stdout.isatty():
        Console().print(explanation(ranked, top, thoughts=thoughts))
    else:
        typer.echo(ranked.explain(top, thoughts=thoughts))


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help=f"The run: {RUN}.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The file to write, .jsonl or .json; also .gz.")],
    data: Annotated[
        str | None, typer.Option("--data", help="Where texts are taken from, if not from the run's own data set.")
    ] = None,
    k: Annotated[int | None, typer.Option("-k", min=1, help="How many documents for each query.")] = None,
) -> None:
    """Write a run with its texts, as candidates that rank_llm and other tools read."""
    from whyrank import experiment
    from whyrank.datasets import load

    written = experiment.export(run, out, None if data is None else load(data), k)
    typer.echo(f"{out}: {len(written):,} queries with their candidates")


@app.command()
def fuse(
    ctx: typer.Context,
    runs: Annotated[list[Path], typer.Argument(help=f"Each of them {RUN}.")],
    out: Out,
    method: Annotated[str, typer.Option("--method", help="rrf, combsum or combmnz.")] = "rrf",
    norm: Annotated[
        str, typer.Option("--norm", help="Of scores, before they are summed: minmax, zscore, none.")
    ] = "minmax",
    rrf_k: Annotated[
        int, typer.Option("--rrf-k", min=0, help="Of rrf, 1 / (k + rank): the higher, the less first ranks count.")
    ] = 60,
    weights: Annotated[str, typer.Option("--weights", help="One for each run, such as 0.3,0.7.")] = "",
    like: Annotated[Path | None, typer.Option("--like", help="Fuse as this fused run was: method, weights.")] = None,
    tune: Annotated[str | None, typer.Option("--tune", help="Tune the weights on this split: dev or train.")] = None,
    measure: Annotated[str, typer.Option("-m", "--measure", help="What --tune maximises.")] = "nDCG@10",
    data: Annotated[
        str | None, typer.Option("--data", help="The data set: for --tune, and for what queries exclude.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many documents to keep for each query.")] = 1000,
    split: Split = None,
    json: AsJson = False,
) -> None:
    """Fuse runs of the same queries; weights may be tuned on queries that are not evaluated."""
    from whyrank import experiment
    from whyrank.datasets import load
    from whyrank.errors import BadInput
    from whyrank.fusion import Fusion

    if tune is not None and (data is None or weights or like):
        raise BadInput("--tune finds the weights itself: it needs --data, and neither --weights nor --like")
    if tune is None:
        _without_effect(ctx, "is what --tune maximises", "measure")
    if data is None:
        _without_effect(ctx, "is of --data", "split")
    if like is None:
        idle = ("is of scores, and rrf adds up ranks", "norm") if method == "rrf" else ("is of --method rrf", "rrf_k")
        _without_effect(ctx, *idle)
    given = Fusion(method=method, norm=norm, k=rrf_k, weights=_numbers(weights))  # type: ignore[arg-type]
    if like is not None and given != Fusion():
        raise BadInput("--like brings method, norm and weights with it: leave out those options")
    fusion = given if like is None else experiment.fusion_of(like)
    tuning = experiment.Tuning.on(str(data), tune, measure) if tune is not None else None
    _tell(experiment.fuse(runs, fusion, out, k, None if data is None else load(data, split=split), tuning), json)


@app.command(name="eval")
def evaluate_runs(
    ctx: typer.Context,
    runs: Annotated[list[Path], typer.Argument(help=f"Each of them {RUN}.")],
    data: Annotated[str | None, typer.Option("--data", help="A data set with judgements.")] = None,
    qrels: Annotated[Path | None, typer.Option("--qrels", help="A file of judgements, instead of --data.")] = None,
    measure: Annotated[
        list[str] | None, typer.Option("-m", "--measure", help="Several may be given; else nDCG@10 and R@100.")
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Test each run against the first.")] = False,
    by: Annotated[
        str | None, typer.Option("--by", help="Also for each class of queries, such as hops in world.")
    ] = None,
    split: Split = None,
    json: AsJson = False,
) -> None:
    """Evaluate runs; a judged query that a run lacks counts 0."""
    from itertools import chain

    from whyrank import eval as evaluation
    from whyrank.datasets import load
    from whyrank.errors import BadInput
    from whyrank.experiment import open_runs, refuse_foreign, tuned_on
    from whyrank.io import read_qrels
    from whyrank.types import Dataset

    if (data is None) == (qrels is None):
        raise BadInput("give the judgements either by --data or by --qrels")
    if qrels is not None:
        _without_effect(ctx, "is of --data: --qrels names the very file", "split")
    if compare and len(runs) < 2:
        raise BadInput(f"--compare tests runs against the first: it needs at least two, not {len(runs)}")
    found = Dataset("qrels", qrels=read_qrels(qrels)) if qrels is not None else load(str(data), split=split)
    if by is not None and by not in found.slices:
        raise BadInput(f"--by: {found.name!r} has no slices {by!r}; it has {', '.join(found.slices) or 'none'}")
    opened, measures = open_runs(runs), measure or ["nDCG@10", "R@100"]
    refuse_foreign(runs, opened, found.qrels, f"judged in {found.name!r}", "check --data and --split")
    reports = [evaluation.evaluate(run, found.qrels, measures) for run in opened]
    if by is not None:
        reports += chain(*(evaluation.by_slice(run, found.qrels, measures, found.slices[by]) for run in opened))
    for run in runs:
        if tuned_on(run, data, split):
            typer.echo(f"{run}: its weights were tuned on these judgements, so its figures are too good", err=True)
    compared = evaluation.compare(reports[: len(opened)]) if compare else None
    if json:
        told: dict[str, object] = {report.name: {**report.means, "coverage": report.coverage} for report in reports}
        typer.echo(_json(told if compared is None else {**told, "comparison": compared.to_list()}))
        return
    typer.echo(evaluation.table(reports))
    if compared is not None:
        typer.echo(compared)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Where the run folders go.")] = Path("runs/demo"),
    questions: Annotated[
        int, typer.Option("--questions", min=1, help="How many questions are searched and reranked.")
    ] = 48,
) -> None:
    """Search, rewrite, rerank with thought and explain, offline, with the small model that comes with whyrank."""
    from whyrank.demo import demo

    for part in demo(out, questions):
        typer.echo(part)


@app.command()
def synth(
    ctx: typer.Context,
    spec: Annotated[str, typer.Argument(help="A method, such as teacher_rankings(openai('gpt-5')).")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The synth folder to write; calling again goes on there.")],
    source: Annotated[
        Path | None, typer.Option("--from", help="What to start from: tasks as JSONL, a synth folder, or a run.")
    ] = None,
    data: Annotated[str | None, typer.Option("--data", help="The collection: a name or a folder.")] = None,
    depth: Annotated[int, typer.Option("--depth", min=1, help="How many documents of each query of a run.")] = 100,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Start from so many tasks only.")] = None,
    max_cost: MaxCost = None,
    max_tokens: MaxTokens = None,
    prices: PriceTable = None,
    split: Split = None,
    json: AsJson = False,
) -> None:
    """Make training data: queries, negatives, teacher rankings, pairs; says what was dropped and why."""
    from whyrank.data_synth.base import Synth
    from whyrank.data_synth.folder import synthesise, tasks_of
    from whyrank.datasets import load
    from whyrank.registry import make

    method = make(spec, Synth)  # type: ignore[type-abstract]
    if data is None:
        _without_effect(ctx, "is of --data", "split")
    collection = None if data is None else load(data, split=split)
    tasks = tasks_of(source, collection, method, depth, limit)
    made = synthesise(method, tasks, out, collection, prices=_prices(prices), max_cost=max_cost, max_tokens=max_tokens)
    if json:
        typer.echo(_json({"file": str(made.file), **made.report}))
        return
    typer.echo(f"{made.file}: {made.report['made']:,} made of {made.report['read']:,} tasks")
    for name, title in (("dropped", "dropped"), ("counts", "also"), ("calls", "model calls")):
        if counts := made.report[name]:
            typer.echo(f"{title}: " + ", ".join(f"{what} {count:,}" for what, count in counts.items()))


training = typer.Typer(help="Train rerankers and rewriters on TRL.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(training, name="train")

Config = Annotated[Path, typer.Argument(help="What to train, as TOML: see docs/training.md.")]


@training.command()
def sft(config: Config, json: AsJson = False) -> None:
    """Fine-tune on examples: supervised, in stages; calling again goes on from the last checkpoint."""
    from whyrank.train import sft
    from whyrank.train.config import SFT, read_config

    _trained(sft.train(read_config(config, SFT)), json)


@training.command()
def grpo(config: Config, json: AsJson = False) -> None:
    """Reinforcement learning with ranking rewards; calling again goes on from the last checkpoint."""
    from whyrank.train import grpo
    from whyrank.train.config import GRPO, read_config

    _trained(grpo.train(read_config(config, GRPO)), json)


@training.command()
def encoder(config: Config, json: AsJson = False) -> None:
    """Train a cross-encoder on lists; calling again goes on from the last checkpoint."""
    from whyrank.train import encoders
    from whyrank.train.config import read_config

    _trained(encoders.train(read_config(config, encoders.Encoder)), json)


@training.command()
def recipes(
    name: Annotated[str, typer.Argument(help="Which to print as TOML; none lists them.")] = "", json: AsJson = False
) -> None:
    """List the published recipes that come with whyrank, or print one, to be saved and fitted to your data."""
    from whyrank.train.recipes import published, text

    if name:
        typer.echo(text(name), nl=False)
    elif json:
        typer.echo(_json(published()))
    else:
        typer.echo("\n".join(f"{name:22} {about}" for name, about in published().items()))


@training.command()
def queries(
    data: Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="The JSONL file to write.")],
    split: Split = None,
) -> None:
    """Write the queries of a data set with their relevant documents: the tasks on which rewriters are trained."""
    from whyrank.datasets import load
    from whyrank.io import write_tasks
    from whyrank.train.draws import search_tasks

    typer.echo(f"{out}: {write_tasks(search_tasks(load(data, split=split)), out):,} queries")


@app.command()
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
        _without_effect(ctx, "is of --data: without it queries are drawn", "depth", "split")
        cases = simulation.Profile(candidates, relevant, first_stage).cases(queries, seed)
    else:
        drawn = ("candidates", "relevant", "first_stage", "queries")
        _without_effect(ctx, "is of queries that are drawn: those of --data are as they are", *drawn)
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
    typer.echo(_json([outcome.to_dict() for outcome in outcomes]) if json else simulation.table(outcomes))


@app.command()
def reproduce(
    what: Annotated[str, typer.Argument(help="tiny: the small model that comes with whyrank.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write; calling again goes on there.")],
    seed: Annotated[int, typer.Option("--seed", help="Of lessons, weights and order.")] = 0,
    recipe: Annotated[
        str, typer.Option("--recipe", help="How it is trained: a file in whyrank/train/tiny.")
    ] = "tiny.toml",
) -> None:
    """Make again, from a seed, what comes with whyrank."""
    from whyrank.errors import BadInput
    from whyrank.reproduce import tiny

    if what != "tiny":
        raise BadInput(f"there is only 'tiny' to reproduce, not {what!r}")
    typer.echo(tiny(out, seed, recipe))


@app.command()
def doctor(
    start: Annotated[bool, typer.Option("--start", help="Also start Java, vLLM and CUDA; takes a minute.")] = False,
    json: AsJson = False,
) -> None:
    """Say which extras, engines and data are here, and what to install for the rest."""
    from dataclasses import asdict

    from whyrank import doctor as checks

    findings = checks.examine(start)
    typer.echo(_json([asdict(finding) for finding in findings]) if json else checks.table(findings))


def _trained(trained: "Trained", as_json: bool) -> None:
    if as_json:
        typer.echo(_json({"model": str(trained.model), **trained.report}))
        return
    typer.echo(f"{trained.model}: {trained.report['steps']:,} steps in {trained.report['seconds']:,} s")
    for source, counts in trained.report["sources"].items():
        typer.echo(f"{source}: " + ", ".join(f"{outcome} {count:,}" for outcome, count in counts.items()))
    if held_out := trained.report["held_out"]:
        typer.echo("held out: " + ", ".join(f"{name} {value:.4f}" for name, value in held_out.items()))


def _tell(result: "Result", as_json: bool) -> None:
    if as_json:
        typer.echo(_json({"folder": str(result.folder), **result.report}))
        return
    lines = [f"{result.folder}: {result.report['queries']:,} queries, {result.report['entries']:,} entries"]
    if calls := result.report.get("calls"):
        lines.append("model calls: " + ", ".join(f"{status} {count:,}" for status, count in calls.items()))
    if rewrites := result.report.get("rewrites"):
        lines.append("queries: " + ", ".join(f"{outcome} {count:,}" for outcome, count in rewrites.items()))
    lines += [f"{name} lacks {count:,} queries" for name, count in result.report.get("lacks", {}).items() if count]
    if tuned := result.report.get("tuned"):
        where = f"{tuned['measure']} on {tuned['queries']:,} queries of {tuned['data']}, {tuned['split']}"
        lines.append(f"{result.report['spec']}: {tuned['value']:.4f} {where} ({tuned['equal_weights']:.4f} evenly)")
    typer.echo("\n".join(lines))


def _tell_outcome(outcome: "Outcome") -> None:
    if sys.stderr.isatty():
        typer.echo(f"{outcome.spec} under {outcome.noise}: {outcome.mean:.3f}", err=True)


def _without_effect(ctx: typer.Context, why: str, *options: str) -> None:
    """Refuse those of these options that were given."""
    from whyrank.errors import BadInput

    for option in options:
        if (source := ctx.get_parameter_source(option)) is not None and source.name == "COMMANDLINE":
            name = "-m" if option == "measure" else f"--{option.replace('_', '-')}"
            raise BadInput(f"{name} has no effect here: it {why}")


def _prices(file: Path | None) -> "Prices | None":
    from whyrank.llm.ledger import Prices

    return None if file is None else Prices.read(file)


def _numbers(text: str) -> tuple[float, ...]:
    from whyrank.errors import BadInput

    try:
        return tuple(map(float, filter(None, text.split(","))))
    except ValueError:
        raise BadInput(f"--weights wants numbers such as 0.3,0.7, not {text!r}") from None


def _json(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)
