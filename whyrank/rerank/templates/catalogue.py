"""What is known of published models and of the forms they are asked in; the data stand in `catalogue.toml`."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from whyrank.errors import NotFound
from whyrank.llm.messages import Sampling
from whyrank.registry import Part, make
from whyrank.rerank.formats import Format
from whyrank.rerank.formats.weighed import TokenScore
from whyrank.rerank.templates.texts import Texts


@dataclass(frozen=True)
class Form:
    """How a published model is asked, but for the words: these stand in its authors' files.

    Attributes:
        name: what it is called here.
        files: the names of the authors' files that are of this form.
        answer: what is read: a format or a score.
        documents: how passages are prepared.
        queries: how the query is.
        sampling: how its authors draw.
        pair_tokens: tokens that query and passage have together, with the line break between; the passage gives way.
        list_length: whether as many tokens are drawn as the list of all labels takes, no more and no less.
        mend_whole: whether the whole prompt is mended once the chat template is around it.
        loose: whether an empty line stands in front of the passages, which their code has and their file lacks.
        keep_newline: whether the line break that a Jinja file ends in is part of the prompt; None where nobody said.
        prefill: what the assistant's turn is begun with.
        template_kwargs: what the chat template is told.
        values: what stands at further places of the template.
        told: a sentence for `whyrank models`.
    """

    name: str = ""
    files: tuple[str, ...] = ()
    answer: Format[Any] | TokenScore | None = None
    documents: Texts = field(default_factory=Texts)
    queries: Texts = field(default_factory=Texts)
    sampling: Sampling = field(default_factory=Sampling)
    pair_tokens: int | None = None
    list_length: bool = False
    mend_whole: bool = False
    loose: bool = False
    keep_newline: bool | None = None
    prefill: str = ""
    template_kwargs: Mapping[str, Any] = field(default_factory=dict, hash=False)
    values: Mapping[str, str] = field(default_factory=dict, hash=False)
    told: str = ""

    @property
    def by_tokens(self) -> bool:
        """Whether texts are cut by the tokens of the model."""
        return not self.documents.tokens is self.queries.tokens is self.pair_tokens is None


@dataclass(frozen=True)
class Known:
    """A published model, or a family of them.

    Attributes:
        pattern: what the whole name of such a model matches.
        forms: the forms that it is asked in, that of its published figures first.
        engine: "chat", "raw", "score", "seq2seq", "encoder" or "other".
        templates: where its template is published, as `template(...)` takes it, the first to be had counts; empty where
            it stands in code only.
        strategy: which strategy asks it, with its window.
        context: tokens of its window.
        licence: of its weights.
        source: repository and commit of its authors.
        published: where its words stand, for people.
        notes: what else is worth knowing.
    """

    pattern: str
    forms: tuple[str, ...]
    engine: str
    strategy: str
    licence: str
    source: str
    templates: tuple[str, ...] = ()
    context: int | None = None
    published: str = ""
    notes: str = ""

    @property
    def commercial(self) -> bool:
        """Whether its licence allows commercial use without a further word."""
        return "NC" not in self.licence

    def fits(self, model: str) -> bool:
        """Whether a model of this name is one of these."""
        return re.fullmatch(self.pattern, model) is not None


def known(model: str) -> Known | None:
    """What is known of a model by its name on the hub; of a folder by the name of its last two parts."""
    name = "/".join(model.replace("\\", "/").rstrip("/").split("/")[-2:])
    return next((one for one in catalogue().models if one.fits(name)), None)


def form_named(name: str) -> Form:
    """The form of this name.

    Raises:
        NotFound: there is none; all are named.
    """
    forms = catalogue().forms
    if name not in forms:
        raise NotFound(f"no form of prompts is called {name!r}; known: {', '.join(sorted(forms))}")
    return forms[name]


def form_for(file: str) -> Form:
    """The form that an authors' file of this name is of; one of which nothing is known where there is none."""
    return next((form for form in catalogue().forms.values() if file in form.files), Form())


@dataclass(frozen=True)
class Catalogue:
    """All that is known.

    Attributes:
        forms: by name.
        models: in the order in which they are looked through.
    """

    forms: Mapping[str, Form]
    models: tuple[Known, ...]


@cache
def catalogue() -> Catalogue:
    """The catalogue that comes with whyrank."""
    told = tomllib.loads(files("whyrank.rerank.templates").joinpath("catalogue.toml").read_text("utf-8"))
    forms = {name: _form(name, keys) for name, keys in told["forms"].items()}
    models = tuple(Known(**{key: _frozen(value) for key, value in keys.items()}) for keys in told.get("models", ()))
    return Catalogue(forms, models)


_PARTS: Mapping[str, type[Part]] = {"answer": Part, "documents": Texts, "queries": Texts, "sampling": Sampling}


def _form(name: str, keys: Mapping[str, Any]) -> Form:
    """A form from its keys: parts are written as specs."""
    made: dict[str, Any] = {
        key: make(value, _PARTS[key]) if key in _PARTS else _frozen(value) for key, value in keys.items()
    }
    return Form(name, **made)


def _frozen(value: Any) -> Any:  # noqa: ANN401 (any of TOML's)
    return tuple(value) if isinstance(value, list) else value
