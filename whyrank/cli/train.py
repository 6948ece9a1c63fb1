"""`whyrank train`: rerankers and rewriters."""

from pathlib import Path
from typing import Annotated

import typer

from whyrank.cli.options import AsJson, Data, Split
from whyrank.cli.output import say, say_json, tell_trained

training = typer.Typer(help="Train rerankers and rewriters on TRL.", no_args_is_help=True, rich_markup_mode=None)

Config = Annotated[
    Path, typer.Argument(help="What to train, as TOML: see https://whyrank.github.io/whyrank/training/.")
]


def sft(config: Config, json: AsJson = False) -> None:
    """Fine-tune on examples: supervised, in stages; calling again goes on from the last checkpoint."""
    from whyrank.train import sft
    from whyrank.train.config import SFT, read_config

    tell_trained(sft.train(read_config(config, SFT)), json)


def grpo(config: Config, json: AsJson = False) -> None:
    """Reinforcement learning with ranking rewards; calling again goes on from the last checkpoint."""
    from whyrank.train import grpo
    from whyrank.train.config import GRPO, read_config

    tell_trained(grpo.train(read_config(config, GRPO)), json)


def encoder(config: Config, json: AsJson = False) -> None:
    """Train a cross-encoder on lists; calling again goes on from the last checkpoint."""
    from whyrank.train import encoders
    from whyrank.train.config import read_config

    tell_trained(encoders.train(read_config(config, encoders.Encoder)), json)


def score(config: Config, json: AsJson = False) -> None:
    """Train the score that scored(...) reads of a language model, on lists; calling again goes on."""
    from whyrank.train import score
    from whyrank.train.config import read_config

    tell_trained(score.train(read_config(config, score.Score)), json)


def recipes(
    name: Annotated[str, typer.Argument(help="Which to print as TOML; none lists them.")] = "", json: AsJson = False
) -> None:
    """List the published recipes that come with whyrank, or print one, to be saved and fitted to your data."""
    from whyrank.train.recipes import published, text

    if name:
        say(text(name).rstrip())
    elif json:
        say_json(published())
    else:
        say("\n".join(f"{name:22} {about}" for name, about in published().items()))


def queries(
    data: Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="The JSONL file to write.")],
    split: Split = None,
) -> None:
    """Write the queries of a data set with their relevant documents: the tasks on which rewriters are trained."""
    from whyrank.datasets import load
    from whyrank.errors import BadInput
    from whyrank.io import write_tasks
    from whyrank.train.draws import search_tasks

    tasks = list(search_tasks(load(data, split=split)))
    if not tasks:
        raise BadInput(f"{data}: no query has a relevant document in the collection, so nothing can be learnt from it")
    say(f"{out}: {write_tasks(tasks, out):,} queries")


for verb in (sft, grpo, encoder, score, recipes, queries):
    training.command(short_help=verb.__doc__)(verb)
