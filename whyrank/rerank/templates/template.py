"""A published model's own prompt: words from its authors' file, its answer by the parsers that all formats have."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from whyrank.errors import BadInput, need
from whyrank.llm.answer import Ok
from whyrank.llm.budget import count
from whyrank.llm.messages import Message, Piece, Prompt, Sampling, Targets, Tokenizer
from whyrank.rerank.formats import First, Format, Graded, Preferred
from whyrank.rerank.formats.base import Think, numbered
from whyrank.rerank.formats.first import LETTERS
from whyrank.rerank.formats.point import single
from whyrank.rerank.formats.weighed import Difference, Logit, TokenScore, graded, weighing
from whyrank.rerank.templates.catalogue import Form, form_for, form_named
from whyrank.rerank.templates.frame import Frame, Shown, Slot, filled
from whyrank.rerank.templates.layouts import frame_of
from whyrank.rerank.templates.source import Source, found
from whyrank.rerank.templates.texts import Texts
from whyrank.types import CallReport, Document


@dataclass(frozen=True)
class Template(Format[Any]):
    """The prompt that a model was trained on, with the preparation of texts and the answer that belong to it.

    A checkpoint gives its published quality only with its own prompt, down to line breaks. The text is read from where
    its authors publish it; what lies in code alone is known of the form: how long passages are, how titles stand, what
    is read of the answer. Texts are shown as the authors show them, so that nothing in them is made harmless: an
    answer is still never read from what a model quotes. Engines in this process break up control tokens in them.

    Attributes:
        source: a file, a model's folder, `PACKAGE:NAME`, or `hub:OWNER/NAME@COMMIT[:FILE]`, see `whyrank models`.
        form: which of the forms that `whyrank models` lists; None goes by the name of the file.
        answer: what is read: a format such as `ranking(think='no')` or `choice()`, or a score such as
            `softmax('yes', 'no')`; None is that of the form.
        documents: how passages are prepared; None is as the form has it.
        queries: how the query is.
        values: what stands at further places of the template, such as `{'instruction': '…'}`.
        keep_newline: of Jinja's, whether the line break at the file's end is part of the prompt; None is as the form
            has it, else as transformers renders.

    Raises:
        NotFound: there is no such file, package or repository, or no such form.
        BadInput: the template is in no known layout, or asks for what is not given; no form and no answer is known.
        MissingExtra: a package that reads or prepares it is not installed.
    """

    source: str
    form: str | None = None
    answer: Format[Any] | TokenScore | None = field(default=None, kw_only=True)
    documents: Texts | None = field(default=None, kw_only=True)
    queries: Texts | None = field(default=None, kw_only=True)
    values: Mapping[str, str] = field(default_factory=dict, hash=False, kw_only=True)
    keep_newline: bool | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Read the template, so that what is missing is told before anything is asked."""
        if self._answer is None:
            raise BadInput(
                f"template: nothing is known of how {self.source!r} is answered: give answer=ranking(think='no') or "
                "another format, a score such as answer=softmax('yes', 'no'), or form=… of those that `whyrank models` "
                "lists"
            )
        if self.form_of.documents.mend or self.form_of.queries.mend:
            need("ftfy", extra="templates", asked_by=f"template({self.source!r})")
        _ = self.frame

    @cached_property
    def read(self) -> Source:
        """The file as it was found."""
        return found(self.source)

    @cached_property
    def form_of(self) -> Form:
        """What is known of the form, with what was given instead."""
        known = form_named(self.form) if self.form is not None else form_for(self.read.name)
        given: dict[str, Any] = {
            "documents": self.documents,
            "queries": self.queries,
            "keep_newline": self.keep_newline,
        }
        known = known if self.documents is None else replace(known, pair_tokens=None)
        return replace(known, **{name: value for name, value in given.items() if value is not None})

    @cached_property
    def frame(self) -> Frame:
        """The template taken apart."""
        form = self.form_of
        return frame_of(self.read, {**form.values, **self.values}, form.keep_newline, form.loose)

    @property
    def facts(self) -> dict[str, Any]:
        """What a manifest tells of the template beside its spec."""
        told = {"file": self.read.name, "sha256": self.read.sha256, "form": self.form_of.name}
        return told | ({"version": self.read.version} if self.read.version else {})

    @cached_property
    def _answer(self) -> Format[Any] | TokenScore | None:
        if self.answer is not None or not self.read.read:
            return self.form_of.answer if self.answer is None else self.answer
        return self.form_of.answer or (
            Difference(*self.read.read) if len(self.read.read) > 1 else Logit(*self.read.read)
        )

    @property
    def think(self) -> Think:
        """Whether the model thinks before it answers."""
        return self._answer.think if isinstance(self._answer, Format) else "no"

    def passage(self, document: Document) -> str:
        """Title and text as the model's authors prepare them, but for what is cut by tokens."""
        return self.form_of.documents.prepared(document.text, document.title)

    def render(self, query: str, passages: Sequence[str], sampling: Sampling | None = None) -> Prompt:
        """The published prompt about passages that `passage` prepared; drawn as published unless told otherwise."""
        form = self.form_of
        drawn = form.sampling if sampling is None or sampling == Sampling() else sampling
        prompt = self._prompt(form.queries.prepared(query), passages, drawn)
        if not (form.by_tokens or form.list_length):
            return prompt

        def prepare(prompt: Prompt, tokenizer: Tokenizer | None, room: int | None, chat_tokens: Any) -> Prompt:  # noqa: ANN401
            """The prompt with what only the model's tokenizer can tell."""
            asked = form.queries.cut(form.queries.prepared(query), tokenizer)
            left = None
            if form.pair_tokens is not None and tokenizer is not None:
                left = form.pair_tokens - form.queries.count(asked, tokenizer) - 1
            texts = [form.documents.cut(passage, tokenizer, left) for passage in passages]
            made = self._prompt(asked, texts, self._long_enough(drawn, len(passages), tokenizer))
            return replace(made, sample=prompt.sample)

        return replace(prompt, prepare=prepare)

    def _prompt(self, query: str, passages: Sequence[str], sampling: Sampling) -> Prompt:
        form, n = self.form_of, len(passages)
        names = [label.strip("[]") for label in self.labels(n) or numbered(n)]
        values = {**form.values, **self.values}
        messages = filled(self.frame, Shown(query, passages, names, values))
        if form.prefill:
            messages = (*messages, Message("assistant", (Piece(form.prefill),)))
        prompt = Prompt(
            messages,
            sampling,
            template_kwargs=form.template_kwargs,
            special_tokens=True,
            finish=_mended if form.mend_whole else None,
        )
        targets = self._targets(n)
        return weighing(prompt, targets) if targets is not None else prompt

    def _targets(self, n: int) -> Targets | None:
        """The tokens that the answer is read from; None where it is written."""
        if isinstance(self._answer, TokenScore):
            return self._answer.targets
        return Targets(tuple(LETTERS[:n])) if isinstance(self._answer, First) and self.think == "no" else None

    def _long_enough(self, sampling: Sampling, n: int, tokenizer: Tokenizer | None) -> Sampling:
        """As many new tokens as the list of all labels takes, where the authors allow no more and no less."""
        if not self.form_of.list_length:
            return sampling
        tokens = count(" > ".join(self.labels(n) or numbered(n)), tokenizer)
        return replace(sampling, max_tokens=tokens, min_tokens=tokens if tokenizer is not None else 0)

    def labels(self, n: int) -> Sequence[str]:
        """What the passages are called."""
        return self._answer.labels(n) if isinstance(self._answer, Format) else ()

    def parse(self, completion: Ok, n: int) -> Any:  # noqa: ANN401 (of the kind that the answer is)
        """What was answered, by the format or the score that reads it."""
        if isinstance(self._answer, TokenScore):
            one = graded(self._answer, completion)
            return self._preferred(self._answer, one) if self._pairs else one
        assert self._answer is not None
        if self._targets(n) is not None and completion.values:
            told = dict(zip(LETTERS[:n], completion.values, strict=False))
            known = {letter: value for letter, value in told.items() if not math.isnan(value)}
            best = max(known, key=known.__getitem__, default="")
            completion = replace(completion, text=best, logprobs=(known,), values=())
        return self._answer.parse(completion, n)

    @cached_property
    def _pairs(self) -> bool:
        """Whether it shows two passages, of which the first is weighed against the second, as duoT5 does."""
        return any(Slot("second") in turn.parts for turn in self.frame.turns)

    def _preferred(self, reads: TokenScore, one: Graded) -> Preferred:
        """The first of two where its score is above that of neither."""
        known = not math.isnan(one.score)
        return Preferred(one.score > reads.score(reads.values(0.5)) if known else None, one.status)

    def tell(self, answer: Any, report: CallReport) -> CallReport:  # noqa: ANN401
        """The report of a call with what answers of this kind tell."""
        if isinstance(self._answer, TokenScore):
            return replace(report, first=answer.first) if self._pairs else replace(report, score=answer.score)
        assert self._answer is not None
        return self._answer.tell(answer, report)

    def whole(self, prompt: Prompt, completion: Ok) -> Ok:
        """The completion as it is read."""
        return self._answer.whole(prompt, completion) if isinstance(self._answer, Format) else completion

    @property
    def highest(self) -> float:
        """The highest score of the answer."""
        return self._answer.highest if isinstance(self._answer, Format) else 1.0

    def nothing_else(self, completion: Ok) -> bool:
        """Whether a completion is an answer and nothing else."""
        return self._answer.nothing_else(completion) if isinstance(self._answer, Format) else True

    def write(self, utilities: Sequence[float], thought: str = "") -> Ok:
        """The completion of a model for which the passages help this much."""
        if isinstance(self._answer, TokenScore):
            utility = float(utilities[0] >= utilities[1]) if self._pairs else single(utilities)
            return Ok("", values=self._answer.values(min(max(utility, 0.0), 1.0)))
        assert self._answer is not None
        return self._answer.write(utilities, thought)


def _mended(text: str) -> str:
    return str(need("ftfy", extra="templates").fix_text(text))
