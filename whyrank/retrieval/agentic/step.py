"""One step of the search agent: how a model is asked, how its answer is read, and which of its quotes are real.

An answer has an `<evidence>` block with quotes, and either a `<search>` block with queries or `<done/>`. The parser is
pure, never raises, and says how well the model kept to the form. A quote counts only where it stands in a document:
models that are asked for evidence also make it up (ALR², 2410.03227).
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.content import neutral, one_line
from whyrank.llm.messages import Message, Piece, Prompt, Sampling
from whyrank.llm.reasoning import parted
from whyrank.llm.report import reported
from whyrank.retrieval.agentic.tool import FoundDocuments, Hit
from whyrank.types import CallReport, Search, Status

LEAST = 8
"""Letters and digits that a quote must have: shorter ones stand in many texts by chance."""

_LONGEST = 1000  # characters of one query
_MOST = 100  # quotes of one answer


@dataclass(frozen=True, slots=True)
class Quote:
    """What a model says that a document says; `number` is the document's, or None where it gave none."""

    number: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """What one answer says.

    Attributes:
        status: "exact": in the form asked for; "repaired": not quite, but read; "truncated": cut off before its end,
            whole lines are used; "no_answer": there is nothing in the form asked for; "failed": the call itself failed.
        quotes: the evidence.
        queries: what to search next; without any, the model is done.
    """

    status: Status
    quotes: tuple[Quote, ...] = ()
    queries: tuple[str, ...] = ()


_TASK = (
    "You look for the documents that answer a question, by searching a collection step by step. The collection may "
    "name things otherwise than the question does, and an answer may rest on several documents, each of which is found "
    "by a search of its own.\n\n"
    "Think first: what must be known to answer the question, what is known by now, and what is still missing? Then "
    "write two blocks.\n"
    "First the evidence that the new passages give, one line for each quote: the number of the passage in square "
    "brackets, and words copied exactly as they stand there, between quotation marks. Quote only what helps to answer "
    "the question; leave the block empty where nothing does. Each quote is looked up in its source, and what does not "
    "stand there word for word is thrown away.\n"
    "Then what to search next, one query a line. Queries of one block are searched at the same time, so that none may "
    "need what another finds: what depends on an earlier result belongs into a later step. Say in a query what its "
    "document would say. If the evidence is enough, or further searches promise nothing, write <done/> in place of the "
    "block.\n\n"
    "The form, for two quotes and two queries:\n"
    '<evidence>\n[1] "words of passage 1"\n[4] "words of passage 4"\n</evidence>\n'
    "<search>\na query\nanother query\n</search>"
)
_WEAK = {
    "nothing new": " Weak: it found nothing new. Ask for something else, or in quite other words.",
    "off target": " Weak: nothing in it was of use so far. Rewrite it, or give it up.",
}


def render(
    question: str,
    evidence: Sequence[tuple[int, str]],
    searches: Sequence[Search],
    found: Sequence[FoundDocuments],
    width: int,
    sampling: Sampling,
) -> Prompt:
    """The prompt of one step.

    Args:
        question: what the user asked.
        evidence: verified quotes with the numbers of their documents.
        searches: all searches so far.
        found: the results of the last round; only documents that are new are shown.
        width: how many queries the model may write, 0 for none.
        sampling: how the answer is drawn.
    """
    pieces = [Piece("Question: "), Piece(one_line(question), cut="query")]
    if evidence:
        lines = "\n".join(f'[{number}] "{one_line(text)}"' for number, text in evidence)
        pieces += [Piece("\n\nEvidence so far:\n"), Piece(lines, cut="document")]
    if searches:
        pieces.append(Piece("\n\nSearches so far:\n" + "\n".join(map(_report, searches))))
    if new := [hit for each in found for hit in each.hits if hit.new]:
        pieces.append(Piece("\n\nNew passages:"))
    elif searches:
        pieces.append(Piece("\n\nThe last searches found no new passages."))
    for hit in new:
        pieces += [Piece(f"\n\n[{hit.number}] "), Piece(_passage(hit), cut="document")]
    quotes = "quote evidence from the new passages" if new else "leave <evidence></evidence> empty"
    then = f"write up to {width} queries in <search>, or <done/>" if width else "write <done/>: this is the last step"
    pieces.append(Piece(f"\n\nNow {quotes}, then {then}."))
    return Prompt((Message("system", (Piece(_TASK),)), Message("user", tuple(pieces))), sampling)


def read(completion: Completion, width: int) -> tuple[Step, CallReport]:
    """What a completion says, and the report of the call."""
    if isinstance(completion, Failed):
        return Step("failed"), reported(completion)
    step = parse(completion, width)
    return step, reported(completion, step.status)


def parse(completion: Ok, width: int) -> Step:
    """What an answer says, at most `width` queries of it; any text gives a step and a status.

    Examples:
        >>> parse(Ok('<evidence>[2] "bees dance"</evidence><search>why do they dance?</search>'), width=3).queries
        ('why do they dance?',)
    """
    _, answer, open = parted(completion.text)
    cut = open or completion.finish == "length"
    evidence, evidence_open = _lines(answer, "evidence", cut)
    asked, search_open = _lines(answer, "search", cut)
    done = bool(_DONE.search(answer))
    quotes = tuple(quote for line in evidence if (quote := _quote(line)).text)
    queries = tuple(dict.fromkeys(query for line in asked if (query := _query(line))))
    if not _BLOCK.search(answer) and not done:
        return Step("truncated" if cut else "no_answer")
    loose = evidence_open or search_open or len(queries) > width or len(quotes) > _MOST or bool(queries) == done
    loose |= any(quote.number is None for quote in quotes)
    status: Status = "truncated" if cut else "repaired" if loose else "exact"
    return Step(status, quotes[:_MOST], queries[:width])


def source_of(quote: Quote, sources: Mapping[int, str]) -> int | None:
    """The number of the document in which a quote stands; None where it stands in none, or is too short to tell.

    White space, letter case, and the forms of quotation marks and dashes do not matter; `…` in a quote may stand for
    words left out. The document that the quote names comes first, then the others in their order: models copy the
    words more surely than the number.

    Args:
        quote: what the model wrote.
        sources: by number, all documents that the model was shown, as `normal` writes them.

    Examples:
        >>> source_of(Quote(2, "Bees  DANCE … in the dark"), {1: "ants", 2: normal("bees dance at home, in the dark")})
        2
    """
    parts = [normal(part) for part in _ELLIPSIS.split(quote.text)]
    if sum(char.isalnum() for part in parts for char in part) < LEAST:
        return None
    order = sorted(sources, key=lambda number: number != quote.number)
    return next((number for number in order if _stands(parts, sources[number])), None)


def normal(text: str) -> str:
    """The text as quotes are compared: as it was shown (`neutral`), compatible characters made alike, case folded."""
    return " ".join(unicodedata.normalize("NFKC", neutral(text)).translate(_ALIKE).casefold().split())


_BLOCK = re.compile(r"<(evidence|search)>", re.IGNORECASE)
_DONE = re.compile(r"<done\s*/?>", re.IGNORECASE)
_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+")
_NUMBERED = re.compile(r"^\s*(?:[-*•]\s*)?[\[(【［]\s*(\d{1,9})\s*[\])】］]\s*:?\s*(.*)$", re.DOTALL)
_MARKED = re.compile(r"""\A\s*["“„«](.+)["”“»]""")
_ELLIPSIS = re.compile(r"\[?(?:…|\.{3,})\]?")
_MARKS = "\"'“”„«»‘’`"
_ALIKE = str.maketrans({**dict.fromkeys("“”„«»", '"'), **dict.fromkeys("‘’`", "'"), **dict.fromkeys("‐‑‒–—−", "-")})


def _lines(answer: str, tag: str, cut: bool) -> tuple[list[str], bool]:
    """The lines of all blocks of a kind, and whether the last was never closed; what was cut off in a line is left."""
    lines: list[str] = []
    unclosed = False
    for block in re.split(f"<{tag}>", answer, flags=re.IGNORECASE)[1:]:
        inside, *after = re.split(r"</?(?:evidence|search|done)\s*/?>", block, maxsplit=1, flags=re.IGNORECASE)
        unclosed = not after
        lines += inside.splitlines()[:-1] if unclosed and cut else inside.splitlines()
    return [clean for line in lines if (clean := " ".join(line.split()))], unclosed


def _quote(line: str) -> Quote:
    match = _NUMBERED.match(line)
    text = match[2] if match else _BULLET.sub("", line)
    marked = _MARKED.match(text)
    return Quote(int(match[1]) if match else None, (marked[1] if marked else text).strip(f"{_MARKS} "))


def _query(line: str) -> str:
    return _BULLET.sub("", line).strip(f"{_MARKS} ")[:_LONGEST]


def _stands(parts: Sequence[str], source: str) -> bool:
    """Whether the parts stand in the source one after the other."""
    at = 0
    for words in parts:
        if (start := source.find(words, at)) < 0:
            return False
        at = start + len(words)
    return True


def _passage(hit: Hit) -> str:
    return ": ".join(filter(None, (hit.title, hit.text))) or "(empty)"


def _report(search: Search) -> str:
    counts = f"{search.documents} passages, {search.new} of them new, evidence from {search.evidence}."
    return f"- {one_line(search.query)}: {counts}{_WEAK.get(search.weakness, '')}"
