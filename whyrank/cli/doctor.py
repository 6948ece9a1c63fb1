"""`whyrank doctor`: what is here and what is not."""

from typing import Annotated

import typer

from whyrank.cli.options import AsJson
from whyrank.cli.tell import as_json


def doctor(
    start: Annotated[bool, typer.Option("--start", help="Also start Java, vLLM and CUDA; takes a minute.")] = False,
    json: AsJson = False,
) -> None:
    """Say which extras, engines and data are here, and what to install for the rest."""
    from dataclasses import asdict

    from whyrank import doctor as checks

    findings = checks.examine(start)
    typer.echo(as_json([asdict(finding) for finding in findings]) if json else checks.table(findings))
