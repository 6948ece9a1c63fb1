"""The model card: what a trained model is, what it was made from, and how well it ranks what it never saw."""

import json
from collections.abc import Mapping
from typing import Any

from whyrank.train.config import Model

LISTWISE = (
    "from whyrank import Listwise, Transformers\n\n"
    'Listwise(Transformers("this/folder")).rank("a question", ["a passage", "another"])\n'
)


def card(method: str, start: Model, task: Mapping[str, Any], report: Mapping[str, Any], use: str = LISTWISE) -> str:
    """A README.md for a model's folder, with the head that the Hugging Face hub reads; `use` is code that asks it."""
    base = f"base_model: {start.path}\n" if start.path else ""
    held_out = "".join(f"| {name} | {value:.4f} |\n" for name, value in report.get("held_out", {}).items())
    sources = "".join(
        f"- `{name}`: " + ", ".join(f"{outcome} {count:,}" for outcome, count in counts.items()) + "\n"
        for name, counts in report["sources"].items()
    )
    begun = f"from `{start.path}`" if start.path else "from random weights"
    return (
        f"---\nlibrary_name: transformers\npipeline_tag: text-ranking\n{base}tags: [reranking, whyrank]\n---\n\n"
        f"# A reranker trained with whyrank\n\n"
        f"{method} {begun}, {report['steps']:,} steps, {report['seconds']:,} seconds.\n\n"
        f"## Learnt from\n\n{sources}\n"
        + (f"## Held-out lists\n\n| | |\n|---|---|\n{held_out}\n" if held_out else "")
        + f"## To use it\n\n```python\n{use}```\n\n"
        f"## As it was asked for\n\n```json\n{json.dumps(task, indent=1, ensure_ascii=False)}\n```\n"
    )
