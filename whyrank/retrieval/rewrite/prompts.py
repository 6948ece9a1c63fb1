"""The words that rewriters put to a model. `fill` makes a prompt of a template with {query}, {passages} and {draft}."""

import re
from collections.abc import Sequence

from whyrank.llm.content import one_line
from whyrank.llm.messages import EMPTY, Message, Piece, Prompt, Sampling
from whyrank.types import Document

REASONED = """Someone looks for help and writes:

{query}

1. Name the problem at the heart of this.
2. Think step by step about what one needs to know in order to answer in depth: which facts, principles, methods or \
examples bear on it, and why.
3. Draft an answer with as many of these thoughts as you can."""

HYDE = """Write a passage that answers the question below, as it could stand in a textbook, in an encyclopedia or in \
good documentation. Write the passage and nothing else.

Question: {query}"""

QUERY2DOC = """Write a passage that answers the query. Two examples:

Query: how do bats find insects at night
Passage: Bats hunt in the dark by echolocation. They give short ultrasonic calls and listen for the echo; the delay \
tells how far away an insect is, the difference between both ears where it is, and a shift in pitch whether it moves.

Query: difference between process and thread
Passage: A process is a running program with a memory of its own, kept apart from others by the operating system. \
Threads are lines of execution within one process: they share its memory and open files, so that switching between \
them is cheap, but access to shared data has to be synchronised.

Write the passage for this query, and nothing else.

Query: {query}"""

LAMER = """A search for the question below found the passages that follow. They may hold the answer, point to it, or \
mislead. Write a passage that answers the question correctly: take from them what is right and use what you know \
besides. Write the passage and nothing else.

Question: {query}

Found passages:
{passages}

Now write the passage that answers the question."""

THINKQE = """A search for the question below found the passages that follow. Some of them may be wrong, or beside the \
point. Think about what the question really asks for and what in the passages helps; then write a passage that answers \
it correctly and in detail, with the terms that a document about it would use. Use your own knowledge where the \
passages do not suffice. Write the passage and nothing else.

Question: {query}

Found passages:
{passages}

Now write the passage that answers the question."""

REFINE = """The question below was answered by a draft, and a search with that draft found the passages that follow. \
Some of them may be wrong, or beside the point. Think about what the draft lacks or has wrong and what in the passages \
helps; then write a better passage that answers the question correctly and in detail, with the terms that a document \
about it would use. Write the passage and nothing else.

Question: {query}

Draft: {draft}

Found passages:
{passages}

Now write the better passage."""

KEYWORDS = """Think about what the question below is really about, and about the documents that would help to answer \
it. List up to {most} keywords that such documents contain and the question does not: names of concepts, principles, \
methods, things. Write them in one line, the most important first, set apart by commas, and nothing else.

Question: {query}"""

SUBQUERIES = """The question below may ask for several things that are best looked up apart. Write up to {most} search \
queries, one a line, that together find all that its answer needs. Each must be understandable without the others and \
without the question. If one thing is asked for, write one query. Write the queries and nothing else.

Question: {query}"""

STEPBACK = """Take a step back from the question below: write one more general question, about the principle, law or \
concept that its answer rests on, and without the particulars of the case. Write that question and nothing else.

Question: {query}"""

_FIELD = re.compile(r"\{(query|passages|draft)\}")


def fill(
    template: str,
    sampling: Sampling,
    query: str,
    passages: Sequence[Document] = (),
    max_passage_tokens: int | None = None,
    draft: str = "",
    system: str | None = None,
) -> Prompt:
    """The prompt of a template; what is filled in may be cut to fit the model's window: passages, draft, then query."""
    asked = {
        "query": [Piece(one_line(query), cut="query")],
        "passages": _listed(passages, max_passage_tokens) or [Piece("(none)")],
        "draft": [Piece(one_line(draft), cut="document")],
    }
    pieces: list[Piece] = []
    for at, part in enumerate(_FIELD.split(template)):
        pieces += asked[part] if at % 2 else [Piece(part)] if part else []
    turns = [] if system is None else [Message("system", (Piece(system),))]
    return Prompt((*turns, Message("user", tuple(pieces))), sampling)


def _listed(passages: Sequence[Document], at_most: int | None) -> list[Piece]:
    pieces = []
    for number, document in enumerate(passages, start=1):
        text = one_line(document.content)
        shown = Piece(text, "document", at_most) if text else Piece(EMPTY, "document")
        pieces += [Piece(f"\n[{number}] "), shown]
    return pieces
