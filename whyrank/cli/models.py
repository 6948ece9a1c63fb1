"""`whyrank models` and `whyrank prompt`: how published models are asked, and what would be sent."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whyrank.cli.options import AsJson
from whyrank.cli.output import say, say_json
from whyrank.errors import BadInput, NotFound

if TYPE_CHECKING:
    from whyrank.llm.engine import LLM
    from whyrank.llm.messages import Prompt
    from whyrank.rerank.strategy import Strategy
    from whyrank.rerank.templates.catalogue import Known


def models(
    name: Annotated[str | None, typer.Argument(help="A model's name on the hub, or its folder; none is all.")] = None,
    json: AsJson = False,
) -> None:
    """Say which published rerankers are known, how each is asked, and whether its own prompt is at hand."""
    from whyrank.rerank.templates.catalogue import catalogue, known
    from whyrank.rerank.templates.published import published

    if name is not None:
        entry, found = known(name), published(name)
        if found is None:
            raise NotFound(
                f"nothing is known of a model {name!r}: `whyrank models` lists those that are known; any other is "
                "asked in whyrank's own prompts"
            )
        told = {"model": name, **(_told(entry) if entry is not None else {})}
        told |= {"template": repr(found.template) if found.template else None, "missing": list(found.missing)}
        say_json(told) if json else say(_card(told))
        return
    known_models = [_told(one) for one in catalogue().models]
    forms = {form.name: form.told for form in catalogue().forms.values()}
    if json:
        say_json({"models": known_models, "forms": forms})
        return
    for one in known_models:
        say(f"{one['model']}\n    {', '.join(one['forms']) or 'no form'}; {one['strategy']}; {one['licence']}")
    say("\nForms, for template(source, form):")
    for form, what in forms.items():
        say(f"{form}\n    {what}")


def prompt(
    spec: Annotated[str, typer.Argument(help="A reranker that asks a model, such as \"listwise(vllm('…'))\".")],
    query: Annotated[str, typer.Option("--query", "-q", help="The query.")],
    doc: Annotated[list[str], typer.Option("--doc", "-d", help="A passage; give the option again for more.")],
    json: AsJson = False,
) -> None:
    """Print what a reranker would send about these passages, with its tokens; no model is asked."""
    from whyrank.registry import make
    from whyrank.rerank.base import Reranker
    from whyrank.rerank.strategy import Strategy

    part = make(spec, Reranker)
    if not isinstance(part, Strategy):
        raise BadInput(f"{spec}: prompts are shown of a reranker that asks a model itself, such as listwise(…)")
    sent = _sent(part, query, doc)
    told: dict[str, Any] = {
        "format": repr(part.asked),
        "messages": sent.chat,
        "tokens": _tokens(part.llm, sent),
        "sampling": asdict(sent.sampling),
        "targets": None if sent.targets is None else asdict(sent.targets),
    }
    if json:
        say_json(told)
        return
    for turn in sent.chat:
        say(f"── {turn['role']} ──\n{turn['content']}")
    size = "tokens unknown: the model has no tokenizer here" if told["tokens"] is None else f"{told['tokens']:,} tokens"
    reads = "" if sent.targets is None else f", of which {', '.join(map(repr, sent.targets.tokens))} are weighed next"
    say(f"── {size}{reads}; at most {sent.sampling.max_tokens:,} new ones; {told['format']} ──", err=True)


def _sent(part: "Strategy[Any]", query: str, documents: list[str]) -> "Prompt":
    """The first prompt of a strategy's plan, as the scheduler would send it."""
    from whyrank.llm.budget import prepared
    from whyrank.rerank.base import Request
    from whyrank.types import Document, Query

    shown = tuple(Document(str(at), text) for at, text in enumerate(documents, start=1))
    request = Request(Query("query", query), shown, tuple(float(n) for n in range(len(shown), 0, -1)))
    try:
        (first, *_) = next(part.plan(request))
    except (StopIteration, ValueError):
        raise BadInput(f"about {len(documents)} passages nothing is asked: give --doc once more") from None
    return prepared(first, part.llm)


def _tokens(llm: "LLM", sent: "Prompt") -> int | None:
    from whyrank.llm.budget import count

    exact = llm.chat_tokens(sent.chat)
    if exact is not None or (tokenizer := llm.tokenizer()) is None:
        return exact
    return sum(count(turn["content"], tokenizer) for turn in sent.chat)


def _told(entry: "Known") -> dict[str, Any]:
    told = asdict(entry)
    return {"model": told.pop("pattern"), **told}


def _card(told: dict[str, Any]) -> str:
    said = {name: value for name, value in told.items() if value not in (None, "", (), [])}
    lists = {name: ", ".join(value) for name, value in said.items() if isinstance(value, tuple | list)}
    return "\n".join(f"{name}: {value}" for name, value in {**said, **lists}.items())
