"""How clusters are told to the model: by extracts of what is in them, or by summaries that a model has written."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from whyrank.fields import NotNegative, Positive
from whyrank.llm.answer import Completion, Failed
from whyrank.llm.ask import Question, Said, ask
from whyrank.llm.engine import LLM
from whyrank.llm.messages import EMPTY, Message, Piece, Prompt, Sampling
from whyrank.llm.reasoning import parted
from whyrank.llm.report import reported
from whyrank.llm.schedule import Plan, drive
from whyrank.llm.trace import Trace
from whyrank.registry import Part
from whyrank.retrieval.tree.slates import line
from whyrank.types import CallReport, Status


@dataclass(frozen=True)
class Extractive(Part):
    """Tell a cluster by the words that mark it and by sentences that hold most of them: no model, no cost.

    Attributes:
        terms: how many words.
        quotes: how many sentences, each of another child.
    """

    terms: Positive = 16
    quotes: NotNegative = 3


@dataclass(frozen=True)
class Written(Part):
    """Tell a cluster by a summary that a language model writes of its children's summaries, from the leaves up.

    Where a call fails or brings no text, the extract stands in. A query that excludes a document is never shown a
    summary that the document went into; the extract of the other documents stands in.

    Attributes:
        llm: the model.
        sampling: how summaries are drawn.
        max_part_tokens: documents and summaries that are summarised are cut to this.
    """

    llm: LLM
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=1024))
    max_part_tokens: Positive = 256

    def write(
        self,
        levels: Iterable[Mapping[int, Sequence[int]]],
        tell: Callable[[int], str],
        trace: Trace | None,
    ) -> tuple[dict[int, str], dict[str, int]]:
        """Write the summaries of nodes, the deepest level first.

        Args:
            levels: for each level the nodes to be told, with their children.
            tell: the text of a child that is not written here.
            trace: the record of model calls.

        Returns:
            The summaries by node, without those that failed; and how many calls ended in each status.
        """
        texts: dict[int, str] = {}
        statuses: Counter[str] = Counter()
        for level in levels:
            plans = {
                str(node): self._plan([texts.get(child) or tell(child) for child in children])
                for node, children in level.items()
            }
            for node, said in drive(plans, self.llm, trace).items():
                text = said.answer
                statuses[said.status] += 1
                if text:
                    texts[int(node)] = text
        return texts, dict(statuses)

    def _plan(self, parts: Sequence[str]) -> Plan[Said[str]]:
        pieces = [Piece("Parts:\n")]
        for number, part in enumerate(parts, start=1):
            pieces += [Piece(f"\n[{number}] "), Piece(line(part) or EMPTY, "document", self.max_part_tokens)]
        pieces.append(Piece("\n\nWrite the summary."))
        messages = (Message("system", (Piece(_TASK),)), Message("user", tuple(pieces)))
        (said,) = yield from ask([Question(Prompt(messages, self.sampling), _read)])
        return said


_TASK = (
    "You label the shelves of a library. You are shown the parts of one group, passages or summaries of smaller "
    "groups. Summarise the group in at most five sentences so that a searcher can tell which questions it can answer: "
    "name the subjects, the facts, principles and methods that are explained, and the span from the common to the odd "
    "one out. Speak of the contents only, never of the group, and write the summary and nothing else."
)


def _read(completion: Completion) -> tuple[str, CallReport]:
    if isinstance(completion, Failed):
        return "", reported(completion)
    text = line(parted(completion.text).answer)
    status: Status = "no_answer" if not text else "truncated" if completion.finish == "length" else "exact"
    return text, reported(completion, status)
