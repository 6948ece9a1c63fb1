"""The closed world as data sets: `load("world")` to search, `load("world/lists")` to rerank."""

from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import ClassVar

from whyrank.data_synth.world import LEVELS, Split, World, WorldQuestion
from whyrank.data_synth.world_lists import WorldLists
from whyrank.datasets.family import Family
from whyrank.types import Corpus, Dataset, Qrels, Run

SIZES = {"test": 300, "train": 3000}
"""How many questions a data set has."""


class Worlds(Family):
    """`world[/lists][/LEVEL][/unseen | /composed]`: all that the generator draws with the seed 0.

    Made, not read: the same on every machine. Without `lists` the whole corpus is judged. With it each query has its
    own list, judged by itself, and a run in an order that knows no grades. `slices` say how many hops a query takes,
    and the share of traps in its list.
    """

    name = "world"
    splits = ("test", "train")
    members: ClassVar[tuple[str, ...]] = tuple(
        "/".join(filter(None, parts)) for parts in product(("", "lists"), ("", *LEVELS), ("", "unseen", "composed"))
    )

    def available(self) -> set[str]:
        """The world is always there."""
        return {self.title(member) for member in ("", "unseen", "composed", "lists", "lists/open")}

    def _present(self, folder: Path) -> Iterator[str]:
        return iter(())

    def _read(self, folder: Path, member: str, split: str | None) -> Dataset:
        parts = member.split("/")
        level = next((name for name in LEVELS if name in parts), "base")
        kept: Split = "unseen" if "unseen" in parts else "composed" if "composed" in parts else "test"
        return dataset(level, "train" if split == "train" else kept, listed="lists" in parts)

    def _fetch(self, member: str, split: str | None) -> Dataset:
        return self._read(Path(), member, split)


def dataset(level: str = "base", split: Split = "test", listed: bool = False, seed: int = 0) -> Dataset:
    """The world of one seed as a data set.

    Args:
        level: a name in `LEVELS`.
        split: which questions; see `SPLITS`. They are spread evenly over the level's hops.
        listed: give each query a list of its own, as `candidates`, and judge nothing else; otherwise judge the corpus.
        seed: of the world and of what is drawn from it.
    """
    lists = _lists(level, seed)
    tasks = lists.draw(split, SIZES.get(split, SIZES["test"]), seed)
    queries = tuple(task.query for task in tasks)
    slices = {name: {task.query.id: f"{name} {task.source[name]}" for task in tasks} for name in ("hops", "traps")}
    candidates = {task.query.id: [document.id for document in task.documents] for task in tasks}
    return Dataset(
        "world",
        _corpus(lists.world),
        queries,
        Qrels({task.query.id: {id: int(grade) for id, grade in task.grades.items()} for task in tasks})
        if listed
        else Qrels({task.query.id: judged(lists.world, WorldQuestion(*task.source["question"])) for task in tasks}),
        Run.of(candidates, name="lists") if listed else None,
        slices if listed else {"hops": slices["hops"]},
    )


def judged(world: World, question: WorldQuestion) -> dict[str, int]:
    """All documents of the corpus that help with a question, with their grades; all others have the grade 0."""
    need = world.need(question)
    return {
        id: world.grade(question, said) for id, said in world.statements.items() if said.principle == need.principle
    }


@cache
def _lists(level: str, seed: int) -> WorldLists:
    return WorldLists(World(seed, LEVELS[level].contexts), LEVELS[level])


@cache
def _corpus(world: World) -> Corpus:
    return Corpus(world.documents.values())
