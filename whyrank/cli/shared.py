"""Options that belong together, written once: several verbs take them, and get one value that they make."""

from collections.abc import Callable
from functools import wraps
from inspect import Signature, signature
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from whyrank.cli.options import Kept, MaxCost, MaxTokens, PriceTable
from whyrank.cli.output import prices_of
from whyrank.cli.places import ChunkSize, OfChunks, On, Replicas, place

if TYPE_CHECKING:
    from whyrank.distributed import Place
    from whyrank.experiment import Limits

Verb = Callable[..., None]


class Chunks(NamedTuple):
    """Whether work is done in chunks: where, how large, and how its model calls are recorded."""

    place: "Place | None"
    size: int | None
    trace: Literal["full", "lean"]


def chunks(
    on: On = None,
    replicas: Replicas = None,
    chunk: OfChunks = None,
    chunk_size: ChunkSize = None,
    trace: Kept = None,
) -> Chunks:
    """Where and how work is done."""
    where = place(on, chunk, chunk_size, replicas)
    return Chunks(where, chunk_size, trace or ("full" if where is None else "lean"))


def limits(max_cost: MaxCost = None, max_tokens: MaxTokens = None, prices: PriceTable = None) -> "Limits":
    """When no further model call may start."""
    from whyrank.experiment import Limits

    return Limits(prices_of(prices), max_cost, max_tokens)


def takes(**made: Callable[..., Any]) -> Callable[[Verb], Verb]:
    """Give a verb the options of these functions; it gets what each returns, by the name that it has here.

    `@takes(limits=limits)` adds --max-cost, --max-tokens and --prices behind the verb's own options, and calls it with
    `limits=limits(max_cost, max_tokens, prices)`.
    """

    def with_options(verb: Verb) -> Verb:
        options = {name: list(signature(maker).parameters.values()) for name, maker in made.items()}

        @wraps(verb)
        def run(**given: Any) -> None:  # noqa: ANN401 (as typer reads them)
            values = {
                name: made[name](**{one.name: given.pop(one.name) for one in some}) for name, some in options.items()
            }
            verb(**given, **values)

        own = [one for one in signature(verb).parameters.values() if one.name not in made]
        every = own + [one for some in options.values() for one in some]
        run.__signature__ = Signature(every)  # type: ignore[attr-defined]  # what typer reads
        run.__annotations__ = {one.name: one.annotation for one in every}
        return run

    return with_options
