"""What an index knows of its documents besides their texts: learnt as they go by, and kept in its folder."""

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from whyrank.errors import BadIndex, BadInput
from whyrank.progress import warn
from whyrank.types import NO_METADATA, Document, Where, meets

FILE = "metadata.jsonl"
"""In the folder of an index: one object a line, in the order of the ids; empty where no document has metadata."""


@dataclass
class Known:
    """What is known of documents besides their texts.

    Attributes:
        metadata: by id, of those that have any.
        bare: whether there are others.
    """

    metadata: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    bare: bool = False

    @classmethod
    def of(cls, documents: Iterable[Document]) -> Self:
        """What is known of these documents."""
        known = cls()
        deque(known.watch(documents), maxlen=0)
        return known

    def watch(self, documents: Iterable[Document]) -> Iterator[Document]:
        """The documents as they are; what is known of each is noted as it goes by."""
        for document in documents:
            if document.metadata:
                self.metadata[document.id] = document.metadata
            else:
                self.metadata.pop(document.id, None)
                self.bare = True
            yield document

    def filters(self, where: Where) -> tuple[frozenset[str], frozenset[str] | None]:
        """Which documents a condition shuts out, or else which it lets in.

        Raises:
            BadInput: it names what is known of no document.
        """
        if isinstance(where, Mapping):
            names = {name for metadata in self.metadata.values() for name in metadata}
            if strange := sorted(map(str, where.keys() - names)):
                raise BadInput(f"where: no document has the metadata {strange[0]!r}, only {', '.join(sorted(names))}")
        met = frozenset(id for id, metadata in self.metadata.items() if meets(metadata, where))
        if self.bare and meets(NO_METADATA, where):
            return frozenset(self.metadata.keys() - met), None
        return frozenset(), met

    def written(self, ids: Iterable[str]) -> bytes | None:
        """What the file says of these documents; None, and a warning, where it cannot say it.

        What JSON has no form for, such as dates, is not kept, and neither is the rest then: a filter that knew the half
        would find the wrong documents.
        """
        lines = []
        try:
            for id in ids if self.metadata else ():
                lines.append(json.dumps(dict(self.metadata.get(id, NO_METADATA))).encode() + b"\n")
        except (TypeError, ValueError, RecursionError) as error:
            warn(
                f"the index will not know the metadata of its documents when it is opened: those of {id!r} cannot be "
                f"written as JSON ({error}); keep to numbers, texts, lists and objects of them"
            )
            return None
        return b"".join(lines)

    @classmethod
    def read(cls, folder: Path, ids: Iterable[str]) -> Self | None:
        """What the folder of an index tells of its documents, whose ids these are; None where it tells nothing.

        Raises:
            BadIndex: the file is damaged.
        """
        if not (file := folder / FILE).is_file():
            return None
        if not file.stat().st_size:
            return cls(bare=True)
        known = cls()
        try:
            with file.open("rb") as lines:
                for id, line in zip(ids, lines, strict=True):
                    if metadata := dict(json.loads(line)):
                        known.metadata[id] = metadata
                    else:
                        known.bare = True
        except (ValueError, TypeError, RecursionError):
            raise BadIndex(f"{file} is damaged: build the index anew") from None
        return known


def merged(parts: Iterable[Known | None]) -> Known | None:
    """What is known of the documents of several indexes; None where one of them tells nothing."""
    several = Known()
    for known in parts:
        if known is None:
            return None
        several.metadata |= known.metadata
        several.bare |= known.bare
    return several
