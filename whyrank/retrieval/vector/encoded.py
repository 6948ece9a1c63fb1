"""What retrievers share whose documents a model turns into arrays of its own kind: settings, index folder, checks."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence, Sized
from copy import copy
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from whyrank.encoders import COME_ALONG, SeveralVectors, Side, for_side, load_engine
from whyrank.errors import BadIndex, BadInput, EngineError
from whyrank.fields import Positive
from whyrank.progress import progress
from whyrank.registry import Part, name_of
from whyrank.retrieval import folder
from whyrank.retrieval.base import FolderPath
from whyrank.retrieval.changes import Changing, Rows
from whyrank.retrieval.checks import Checked
from whyrank.retrieval.filters import Filters, allowed
from whyrank.retrieval.metadata import Known
from whyrank.types import Document, Fingerprint, Query, joined

BLOCK = 512
"""Documents that are encoded at once."""

PROBE = "Bees come home and dance in the dark; the others fly out to flowers that they have never seen. How?"
"""What it becomes is kept with an index, and tells whether the model is still the same."""

DRIFT = 0.03
"""How far the probe may move, relative to its length: room for another device or precision."""

_VERSION = 1
_NOT_MADE_BY = {"path", "batch_size", "device", "threads", "trust_remote_code"}
_BY_PROBE = {"model", "query_prompt", "document_prompt"}


@dataclass(frozen=True)
class Encoded(Changing):
    """A retriever whose index a model makes; see the subclasses."""

    model: str
    path: FolderPath = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    max_length: Positive | None = None
    batch_size: Positive = 32
    device: str | None = None
    trust_remote_code: bool = False
    _held: folder.Saved | None = field(default=None, init=False, repr=False, compare=False)

    filters: ClassVar[bool] = True
    file_fields: ClassVar[frozenset[str]] = frozenset({"query_prompt", "document_prompt", "max_length"})
    engine: ClassVar[SeveralVectors]
    """The class of sentence-transformers that runs the model."""

    @abstractmethod
    def _arrays(self, blocks: Iterator[list[str]]) -> dict[str, NDArray[Any]]:
        """The arrays of the index, from the texts of the documents."""

    @abstractmethod
    def _chosen(self, parts: Sequence[folder.Saved], rows: Rows) -> dict[str, NDArray[Any]]:
        """The arrays of an index of some of the documents of `parts`: `rows` counts these one part after the other."""

    @abstractmethod
    def _probe(self) -> NDArray[np.float32]:
        """What the model makes of `PROBE`, in one vector."""

    def save(self, path: str | Path) -> None:
        """Write the index to the new folder `path`: whole or not at all.

        Raises:
            BadInput: there is no index yet.
            BadIndex: `path` is there already, and is no empty folder.
        """
        self._write(Path(path), self._ready(), self._noted())

    @classmethod
    def open(
        cls, path: str | Path, model: str | None = None, *, trust: bool = False, trust_remote_code: bool = False
    ) -> Self:
        """The retriever that wrote the index in the folder `path`; it runs on this machine's best device.

        Args:
            path: the folder.
            model: of whoever opens it, a folder or a name on the hub: a file chooses none.
            trust: take the model that the folder names; whoever made the folder then chooses what is loaded.
            trust_remote_code: run code that comes with the model.

        Raises:
            NotFound: there is no such folder.
            BadIndex: the folder holds no index of this kind, or a damaged one, or names a model that was not given.
        """
        saved = folder.read(Path(path), kind=_kind(cls), version=_VERSION)
        model = model or model_of(cls, path, saved.about.get("model"), trust)
        opened = cls._from_folder(path, saved.about, model=model, trust_remote_code=trust_remote_code)
        opened._hold(saved)
        return opened

    def _index(self, corpus: Iterable[Document]) -> None:
        ids: list[str] = []
        collection = Fingerprint()

        def blocks() -> Iterator[list[str]]:
            with progress(f"encoding with {self!r}", len(corpus) if isinstance(corpus, Sized) else None) as advance:
                documents = collection.watch(corpus)
                while block := list(islice(documents, BLOCK)):
                    ids.extend(document.id for document in block)
                    yield [document.content for document in block]
                    advance(len(block))

        arrays = self._arrays(blocks()) | {"probe": self._probe()}
        saved = folder.Saved(
            {name: getattr(self, name) for name in self._made_by()}, arrays, {"ids": ids}, str(collection)
        )
        if self.path is not None:
            self._write(Path(self.path), saved, self._noted())
            saved = folder.read(Path(self.path), kind=_kind(type(self)), version=_VERSION)
        object.__setattr__(self, "_held", saved)

    def _changed(
        self, documents: Iterable[Document], rows: Rows | None, path: str | Path | None, known: Known | None
    ) -> Self:
        parts, collection = [self._ready()], Fingerprint()
        if new := list(collection.watch(documents)):
            texts = (document.content for document in new)
            arrays = self._arrays(iter(lambda: list(islice(texts, BLOCK)), []))
            parts.append(folder.Saved({}, arrays, {"ids": [document.id for document in new]}))
        ids = [id for part in parts for id in part.texts["ids"]]
        kept = np.arange(len(ids)) if rows is None else rows
        changed = folder.Saved(
            parts[0].about,
            self._chosen(parts, kept) | {"probe": parts[0].arrays["probe"]},
            {"ids": [ids[row] for row in kept.tolist()]},
            joined(parts[0].collection, str(collection)) if rows is None else "",
        )
        if path is not None:
            self._write(Path(path), changed, known)
            return self.at(path)
        held = copy(self)
        object.__setattr__(held, "path", None)
        object.__setattr__(held, "_held", changed)
        return held

    def _collection(self) -> tuple[str, Iterable[str]]:
        return self._ready().collection, self._ready().texts["ids"]

    @abstractmethod
    def _check(self, found: Checked) -> None:
        """Refuse arrays that search cannot use as they are; their ids are checked already.

        Raises:
            BadIndex: there are such.
        """

    def _ready(self) -> folder.Saved:
        if self._held is not None:
            return self._held
        if self.path is None:
            raise BadInput(f"{self!r} has no index yet: call index(corpus), or give the path of a saved index")
        return self._hold(folder.read(Path(self.path), kind=_kind(type(self)), version=_VERSION))

    def _hold(self, saved: folder.Saved) -> folder.Saved:
        """Search the index of a folder, if this retriever would encode its documents in the same way."""
        same = all(saved.about.get(name) == value for name, value in self._made_by().items() if name not in _BY_PROBE)
        found = saved.checked(Path(str(self.path)))
        found.ids("ids")
        if same:
            self._check(found)
        if not same or not alike(found.array("probe", ["float32"], None), self._probe()):
            raise BadIndex(
                f"{self.path} was not made by {self!r} but with {saved.about}, or by another version of the model"
            )
        object.__setattr__(self, "_held", saved)
        return saved

    def _made_by(self) -> dict[str, Any]:
        """The settings that decide what is in an index."""
        made_by = (field.name for field in fields(self) if field.repr and field.name not in _NOT_MADE_BY)
        return {name: getattr(self, name) for name in made_by}

    def _write(self, path: Path, saved: folder.Saved, known: Known | None) -> None:
        folder.write(path, kind=_kind(type(self)), version=_VERSION, **saved._asdict(), known=known)

    def _engine(self) -> Any:  # noqa: ANN401 (a class of sentence-transformers)
        return load_engine(
            self.engine,
            self.model,
            device=self.device,
            max_length=self.max_length,
            trust_remote_code=self.trust_remote_code,
            asked_by=f"{name_of(type(self))}(...)",
        )

    def _encode(self, texts: Sequence[str], side: Side, **settings: object) -> Any:  # noqa: ANN401 (as the engine gives it)
        """What the model makes of `texts`, each distinct text encoded once, and where each text stands there."""
        encode, prompt = for_side(self._engine(), side, self.query_prompt if side == "query" else self.document_prompt)
        place = {text: at for at, text in enumerate(dict.fromkeys(texts))}
        made = encode(list(place), prompt=prompt, batch_size=self.batch_size, show_progress_bar=False, **settings)
        return made, [place[text] for text in texts]

    def _finite(self, numbers: NDArray[Any], side: Side) -> None:
        if not np.isfinite(numbers).all():
            raise EngineError(f"{self!r}: the model gives numbers for a {side} that are not finite")


def allowed_of(ids: Sequence[str], queries: Sequence[Query]) -> Filters:
    """What those queries may find that may not find all of the documents `ids`."""
    return allowed(queries, lambda: {id: number for number, id in enumerate(ids)})


def alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Whether what became of a probe then and now is the same but for the device and its precision."""
    return one.shape == other.shape and bool(np.linalg.norm(one - other) <= DRIFT * np.linalg.norm(other))


def model_of(part: type[Part], path: str | Path, told: object, trust: bool) -> str:
    """The model that an index folder names, where a file may choose it: one that comes along, or for who trusts it.

    Raises:
        BadIndex: it names none, or one that whoever opens the folder has to give.
    """
    if not isinstance(told, str):
        raise BadIndex(f"{path} does not tell of which model it is: build the index anew")
    if trust or told in COME_ALONG:
        return told
    raise BadIndex(
        f"{path} was made with the model {told!r}, and a file chooses no model: give it, "
        f"{part.__name__}.open({str(path)!r}, {told!r}), or open with trust=True"
    )


def _kind(part: type[Encoded]) -> str:
    return f"whyrank-{name_of(part)}"
