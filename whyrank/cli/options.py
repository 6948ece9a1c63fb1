"""Options that several verbs share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
