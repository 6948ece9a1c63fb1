"""`whyrank doctor`: what is here and what is not."""

from typing import Annotated

import typer

from whyrank.cli.options import AsJson
from whyrank.cli.output import say, say_json, width


def doctor(
    start: Annotated[bool, typer.Option("--start", help="Also start Java, vLLM and CUDA; takes a minute.")] = False,
    json: AsJson = False,
) -> None:
    """Say which extras, engines and data are here, and what to install for the rest."""
    from dataclasses import asdict

    from whyrank import doctor as checks

    findings = checks.examine(start)
    if json:
        say_json([asdict(finding) for finding in findings])
    else:
        say(checks.table(findings, width()))
