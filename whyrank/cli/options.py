"""Options that several verbs share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from whyrank.types import Dataset

RUN = "a run folder, a TREC run, JSON scores, or candidates with text (.jsonl)"

Data = Annotated[
    str, typer.Option("--data", help="A data set: a name such as beir/scifact, a folder, or a file of texts.")
]
Asked = Annotated[
    list[str] | None,
    typer.Option("--query", help="A question, instead of the queries of --data; several may be given: q1, q2, …"),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        help="Find only documents of which NAME=VALUE is known; given twice, all names must fit, any value of each.",
    ),
]
Out = Annotated[Path, typer.Option("-o", "--out", help="The run folder to write; calling again goes on there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]
Split = Annotated[
    str | None,
    typer.Option("--split", help="Which judgements: test, dev or train; else test, or the only ones there are."),
]
Kept = Annotated[
    Literal["full", "lean"] | None,
    typer.Option(
        "--trace", help="How model calls are recorded: full, or lean, without prompts, a tenth of it; lean in chunks."
    ),
]
MaxCost = Annotated[
    float | None, typer.Option("--max-cost", min=0, help="Stop once model calls cost this much; wants --prices.")
]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", min=0, help="Stop once model calls took so many tokens.")
]
PriceTable = Annotated[Path | None, typer.Option("--prices", help="Prices by model, a TOML or JSON file.")]
Trust = Annotated[
    Path | None,
    typer.Option(
        "--trust", help="Let this folder, which is read here, name code that is run: a data set's function, a part."
    ),
]


def asking(data: "Dataset", questions: list[str] | None) -> "Dataset":
    """The data set with these questions in place of its queries, and without their judgements; as it is without any."""
    from dataclasses import replace

    from whyrank.types import Qrels, Query

    if not questions:
        return data
    queries = tuple(Query(f"q{number}", text) for number, text in enumerate(questions, 1))
    return replace(data, queries=queries, qrels=Qrels({}), candidates=None, slices={})


def keeping(data: "Dataset", conditions: list[str] | None) -> "Dataset":
    """The data set whose queries find only documents whose metadata meet all conditions, `NAME=VALUE` each.

    A value fits as text and, where it is JSON, as number, truth or null; of several values of one name any fits.

    Raises:
        BadInput: a condition is written otherwise, or no document meets them.
    """
    from dataclasses import replace

    from whyrank.errors import BadInput

    wanted: dict[str, list[object]] = {}
    for condition in conditions or ():
        name, equals, value = condition.partition("=")
        if not name or not equals:
            raise BadInput(f"--where {condition!r}: write NAME=VALUE, such as year=1927")
        wanted.setdefault(name, []).extend(_readings(value))
    if not wanted:
        return data
    kept = data.corpus.where(wanted)
    if not kept:
        known = sorted({name for document in data.corpus for name in document.metadata})
        told = f"it is known by {', '.join(known[:10])}" if known else "nothing is known of its documents"
        raise BadInput(f"no document of {data.name!r} meets --where {' --where '.join(conditions or ())}: {told}")
    only = [kept if query.only is None else query.only & kept for query in data.queries]
    return replace(data, queries=tuple(replace(query, only=ids) for query, ids in zip(data.queries, only, strict=True)))


def _readings(text: str) -> list[object]:
    """What a value on the command line may stand for: a text, and what JSON has it be."""
    import json

    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return [text]
    return [text] if isinstance(value, dict | list) else [text, value]
