"""Plans that ask step by step."""

from whyrank.llm.answer import Ok
from whyrank.llm.messages import Message, Piece, Prompt
from whyrank.llm.schedule import Plan


def ask(text: str) -> Prompt:
    return Prompt((Message("user", (Piece(text),)),))


def chain(name: str, steps: int) -> Plan[list[str]]:
    said: list[str] = []
    for step in range(steps):
        (completion,) = yield [ask(f"{name} {step}")]
        said.append(completion.text if isinstance(completion, Ok) else completion.kind)
    return said
