"""The question that a format puts about documents, word for word as inference asks it: for teachers and students."""

from collections.abc import Sequence

from whyrank.llm.answer import Completion
from whyrank.llm.ask import Question
from whyrank.llm.budget import capped, clip
from whyrank.llm.engine import Tokenizer
from whyrank.llm.messages import Sampling
from whyrank.rerank.formats.base import Answer, Format, read
from whyrank.types import CallReport, Document


def question(
    format: Format[Answer],
    query: str,
    documents: Sequence[Document],
    tokenizer: Tokenizer | None,
    max_passage_tokens: int = 512,
    sampling: Sampling | None = None,
) -> Question[Answer]:
    """Ask about documents in one prompt, each prepared by the format and cut to `max_passage_tokens`."""
    passages = [format.passage(document) for document in documents]
    prompt = format.render(query, passages, sampling).with_documents(max_passage_tokens)
    prompt = capped(prompt, lambda text, most: clip(text, tokenizer, most))

    def heard(completion: Completion) -> tuple[Answer, CallReport]:
        return read(format, completion, len(documents), prompt)

    return Question(prompt, heard)
