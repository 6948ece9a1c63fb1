"""A prompt format of few words, for small models."""

from collections.abc import Sequence
from dataclasses import dataclass

from whyrank.llm.answer import Ok
from whyrank.llm.messages import Message, Piece, Prompt, Sampling
from whyrank.rerank.formats import Format, Permutation, RankingFormat
from whyrank.rerank.formats.yes_no import YesNo


@dataclass(frozen=True)
class Short(Format[Permutation]):
    """The query, then the passages by number; read as `ranking()` is."""

    def render(self, query: str, passages: Sequence[str], sampling: Sampling | None = None) -> Prompt:
        pieces = [Piece(query, cut="query")]
        for at, passage in enumerate(passages, start=1):
            pieces += [Piece(f"[{at}]"), Piece(passage, cut="document")]
        return Prompt((Message("user", tuple(pieces)),), sampling or Sampling())

    def parse(self, completion: Ok, n: int) -> Permutation:
        return RankingFormat().parse(completion, n)

    def write(self, utilities: Sequence[float], thought: str = "") -> Ok:
        said = RankingFormat().write(utilities, thought)
        return Ok(said.text.replace("</think>\n", "</think>"))


@dataclass(frozen=True)
class Blunt(Short):
    """The same with a word behind it; answered without a thought."""

    def render(self, query: str, passages: Sequence[str], sampling: Sampling | None = None) -> Prompt:
        short = super().render(query, passages, sampling)
        pieces = (*short.messages[0].pieces, Piece("dark"))
        return Prompt((Message("user", pieces),), short.sampling)

    def parse(self, completion: Ok, n: int) -> Permutation:
        return RankingFormat(think="no").parse(completion, n)

    def write(self, utilities: Sequence[float], thought: str = "") -> Ok:
        return RankingFormat(think="no").write(utilities)


@dataclass(frozen=True)
class Helps(YesNo):
    """The query, then the one passage."""

    def render(self, query: str, passages: Sequence[str], sampling: Sampling | None = None) -> Prompt:
        (passage,) = passages
        pieces = (Piece(query, cut="query"), Piece(passage, cut="document"))
        return Prompt((Message("user", pieces),), sampling or Sampling())
