"""What is kept of a collection for hierarchical search: the tree, the texts, the vectors, and what tells each cluster.

parents.npy                   the tree: the parent of each node
vectors.npy                   float16, of the documents: new ones find their place by them
texts*.npy, sketches*.npy, written*.npy      texts in UTF-8, and where each begins
ids.json, words.json, frequencies.npy        document ids; in how many documents each word occurs
index.json                    how it was made, and the checksums of all files
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from whyrank.llm.trace import Trace
from whyrank.progress import progress
from whyrank.retrieval import folder
from whyrank.retrieval.checks import Checked
from whyrank.retrieval.metadata import Known
from whyrank.retrieval.tree.clustering import bottom_up, top_down
from whyrank.retrieval.tree.growth import grown
from whyrank.retrieval.tree.shape import Ints, Shape
from whyrank.retrieval.tree.sketches import Rarity, Sketch, merged, of_document
from whyrank.retrieval.tree.summaries import Extractive, Written
from whyrank.retrieval.tree.texts import PackedTexts
from whyrank.types import Document, fingerprint, joined

KIND, VERSION = "whyrank-tree", 1
BUILDERS = {"bottom_up": bottom_up, "top_down": top_down}
_SHOWN = Extractive()


@dataclass(frozen=True, eq=False)
class TreeIndex:
    """A tree over n documents with m - n inner nodes.

    Attributes:
        shape: the tree; leaf i is document i.
        ids: (n,) document ids.
        texts: (n,) documents.
        vectors: (n, d) float16.
        sketches: (m - n,) the extract of each inner node, as JSON.
        written: (m - n,) the summary that a model wrote; empty where there is none.
        rarity: how rare each word is.
        about: how it was made.
        collection: the fingerprint of the documents; empty where it is not known.
    """

    shape: Shape
    ids: list[str]
    texts: PackedTexts
    vectors: NDArray[Any]
    sketches: PackedTexts
    written: PackedTexts
    rarity: Rarity
    about: Mapping[str, Any]
    collection: str = ""

    @classmethod
    def of(cls, documents: Sequence[Document], vectors: NDArray[Any], build: str, branching: int) -> Self:
        """Build the tree and the extracts of its clusters."""
        texts = [document.content for document in documents]
        shape = BUILDERS[build](vectors, branching)
        bare = PackedTexts.of([""] * (len(shape.parents) - shape.leaves))
        index = cls(
            shape,
            [document.id for document in documents],
            PackedTexts.of(texts),
            vectors.astype(np.float16),
            bare,
            bare,
            Rarity(0, {}).grown(texts),
            {},
            fingerprint(documents),
        )
        return index._sketched(np.arange(len(bare)))

    @classmethod
    def read(cls, path: Path) -> Self:
        """The index in a folder; its arrays are mapped into memory.

        Raises:
            NotFound, BadIndex: as `folder.read`, or the files make no tree.
        """
        saved = folder.read(path, kind=KIND, version=VERSION)
        found = saved.checked(path)
        ids, parents = found.ids("ids"), found.array("parents", ["int64"], None)
        found.array("vectors", ["float16"], len(ids), None)
        found.finite("vectors")
        inner = max(len(parents) - len(ids), 0)
        held = {"texts": len(ids), "sketches": inner, "written": inner}
        texts = {name: _texts(found, name, size) for name, size in held.items()}
        words = found.ids("words")
        frequencies = found.array("frequencies", ["int64"], len(words))
        found.not_negative("frequencies")
        return cls(
            Shape(parents, len(ids)),
            saved.texts["ids"],
            vectors=saved.arrays["vectors"],
            rarity=Rarity(len(ids), dict(zip(words, frequencies.tolist(), strict=True))),
            about=saved.about,
            collection=saved.collection,
            **texts,
        )

    def write(self, path: Path, known: Known | None) -> None:
        """Write the index into a new folder, with what is known of the documents: whole or not at all.

        Raises:
            BadIndex: `path` is there already, and is no empty folder.
        """
        held = {"texts": self.texts, "sketches": self.sketches, "written": self.written}
        folder.write(
            path,
            kind=KIND,
            version=VERSION,
            about=self.about,
            arrays={
                "parents": self.shape.parents,
                "vectors": self.vectors,
                "frequencies": np.array(list(self.rarity.frequencies.values()), dtype=np.int64),
                **{name: each.data for name, each in held.items()},
                **{f"{name}-offsets": each.offsets for name, each in held.items()},
            },
            texts={"ids": self.ids, "words": list(self.rarity.frequencies)},
            collection=self.collection,
            known=known,
        )

    def followed_by(self, documents: Sequence[Document], vectors: NDArray[Any], branching: int) -> tuple[Self, Ints]:
        """With further documents; and the inner nodes, counted from 0, whose documents have changed."""
        added = [document.content for document in documents]
        both = np.concatenate([self.vectors, vectors.astype(np.float16)])
        shape, changed = grown(self.shape, both, branching)
        bare = [""] * (len(shape.parents) - shape.leaves - len(self.sketches))
        written = [*self.written, *bare]
        for node in changed.tolist():
            written[node] = ""
        larger = replace(
            self,
            shape=shape,
            ids=[*self.ids, *(document.id for document in documents)],
            texts=PackedTexts.of([*self.texts, *added]),
            vectors=both,
            sketches=PackedTexts.of([*self.sketches, *bare]),
            written=PackedTexts.of(written),
            rarity=self.rarity.grown(added),
            collection=joined(self.collection, fingerprint(documents)),
        )
        return larger._sketched(changed), changed

    def told_by(self, writer: Written, nodes: Ints, trace: Trace | None) -> Self:
        """With summaries of these inner nodes, counted from 0, which a model writes; the calls are counted in `about`.

        Raises:
            EngineError: the model cannot be used at all.
        """
        n, wanted = self.shape.leaves, set(nodes.tolist())
        levels = [[node - n for node in level.tolist() if node - n in wanted] for level in self._levels()]
        plans = [{node + n: self.shape.children(node + n).tolist() for node in level} for level in levels]
        texts, statuses = writer.write(plans, lambda child: self.tell(child, _SHOWN), trace)
        written = list(self.written)
        for node in wanted:
            written[node] = texts.get(node + n, "")
        counts = dict(self.about.get("calls", {}))
        counts = {status: counts.get(status, 0) + statuses.get(status, 0) for status in {**counts, **statuses}}
        return replace(self, written=PackedTexts.of(written), about={**self.about, "calls": counts})

    def tell(self, node: int, how: Extractive) -> str:
        """The text of a document, or what tells a cluster."""
        if self.shape.is_leaf(node):
            return self.texts[node]
        at = node - self.shape.leaves
        return self.written[at] or self.sketch(node).shown(how.terms, how.quotes)

    def sketch(self, node: int) -> Sketch:
        """The extract of a document or of a cluster."""
        if self.shape.is_leaf(node):
            return of_document(self.texts[node], self.rarity)
        return Sketch.load(self.sketches[node - self.shape.leaves])

    @cached_property
    def places(self) -> dict[str, int]:
        """The leaf of each document."""
        return {id: leaf for leaf, id in enumerate(self.ids)}

    def _levels(self) -> list[Ints]:
        """The inner nodes by depth, the deepest first, the root last."""
        levels = [level[level >= self.shape.leaves] for level in self.shape.levels]
        return [*levels, np.array([self.shape.root])]

    def _sketched(self, nodes: Ints) -> Self:
        """With new extracts of these inner nodes, counted from 0, made from the leaves up."""
        n, wanted = self.shape.leaves, set(nodes.tolist())
        sketches = list(self.sketches)
        made: dict[int, Sketch] = {}
        with progress("extracting", len(wanted)) as advance:
            for level in self._levels():
                for node in (node for node in level.tolist() if node - n in wanted):
                    children = self.shape.children(node).tolist()
                    parts = [made.pop(child) if child in made else self.sketch(child) for child in children]
                    made[node] = merged(parts, self.shape.sizes[children].tolist())
                    sketches[node - n] = made[node].dump()
                    advance()
        return replace(self, sketches=PackedTexts.of(sketches))


def _texts(found: Checked, name: str, size: int) -> PackedTexts:
    data = found.array(name, ["uint8"], None)
    found.array(offsets := f"{name}-offsets", ["int64"], None)
    return PackedTexts(data, found.offsets(offsets, len(data), size))


class ShownIndex:
    """What one query is shown of an index: never a word that comes from a document that it excludes."""

    def __init__(self, index: TreeIndex, excluded: Collection[int], gone: Mapping[int, int], how: Extractive) -> None:
        """Take the excluded leaves, and how many of them lie under each node."""
        self.index, self.excluded, self.gone, self.how = index, frozenset(excluded), gone, how
        self._made: dict[int, Sketch] = {}

    def text(self, node: int) -> str:
        """The candidate that stands for a node: "Passage: …" or "Group of 12 passages: …".

        A cluster that has lost documents is told by the extract of those that are left, also where a model had
        written a summary.
        """
        shape = self.index.shape
        if shape.is_leaf(node):
            return f"Passage: {self.index.texts[node]}"
        number, gone = self._size(node), self.gone.get(node)
        told = self._sketch(node).shown(self.how.terms, self.how.quotes) if gone else self.index.tell(node, self.how)
        return f"Group of {number} passage{'s' if number > 1 else ''}: {told}"

    def _size(self, node: int) -> int:
        """How many documents under a node are left."""
        return int(self.index.shape.sizes[node]) - self.gone.get(node, 0)

    def _sketch(self, node: int) -> Sketch:
        if not self.gone.get(node):
            return self.index.sketch(node)
        if node not in self._made:
            sizes = {child: self._size(child) for child in self.index.shape.children(node).tolist()}
            left = [child for child, size in sizes.items() if size]
            self._made[node] = merged([self._sketch(child) for child in left], [sizes[child] for child in left])
        return self._made[node]
