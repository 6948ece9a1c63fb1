"""What an answer may be, for engines that can keep a model to it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Constraint:
    """The form of a whole answer; engines that cannot enforce it ask without it, and parsers read answers as ever.

    vLLM, in this process or as a server, and llama.cpp keep to the grammar; OpenAI and others to the schema only.

    Attributes:
        grammar: in GBNF, as llama.cpp and vLLM read it; its start is `root`.
        schema: the same as a JSON schema, where the answer is JSON.
    """

    grammar: str
    schema: Mapping[str, Any] | None = field(default=None, hash=False)


def one_of(choices: Sequence[str]) -> Constraint:
    """One of these texts.

    Examples:
        >>> print(one_of(["yes", "no"]).grammar)
        root ::= "yes" | "no"
    """
    return Constraint(f"root ::= {_either(choices)}")


def list_of(labels: Sequence[str], between: str) -> Constraint:
    """As many of `labels` as there are, in any order, with the text `between` them; that none comes twice is not said.

    Examples:
        >>> print(list_of(["[1]", "[2]"], " > ").grammar)
        root ::= label " > " label
        label ::= "[1]" | "[2]"
    """
    return Constraint(
        f"root ::= {f' {json.dumps(between)} '.join(['label'] * len(labels))}\nlabel ::= {_either(labels)}"
    )


def map_of(names: Sequence[str], most: int) -> Constraint:
    r"""A JSON map from each of `names`, in their order, to a whole number from 0 to `most`.

    Examples:
        >>> print(map_of(["1", "2"], 3).grammar)
        root ::= "{\"1\": " score ", \"2\": " score "}"
        score ::= "0" | "1" | "2" | "3"
    """
    opened = (json.dumps(f"{', ' if at else '{'}{json.dumps(name)}: ") for at, name in enumerate(names))
    grammar = f'root ::= {" score ".join(opened)} score "}}"\nscore ::= {_either(list(map(str, range(most + 1))))}'
    number = {"type": "integer", "minimum": 0, "maximum": most}
    schema = {"type": "object", "properties": dict.fromkeys(names, number), "required": list(names)}
    return Constraint(grammar, {**schema, "additionalProperties": False})


def _either(texts: Sequence[str]) -> str:
    return " | ".join(map(json.dumps, texts))
