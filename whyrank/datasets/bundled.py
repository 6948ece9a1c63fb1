"""The collection that whyrank carries: 80 short passages and 15 questions whose words mislead."""

from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

from whyrank.datasets.family import Family
from whyrank.datasets.folder import read_folder
from whyrank.types import Corpus, Dataset


class Toy(Family):
    """Grade 2 states the principle that answers the question, grade 1 helps; all other passages are off the point."""

    name = "toy"
    members = ("",)

    def available(self) -> set[str]:
        """The collection is always there."""
        return {self.name}

    def _present(self, folder: Path) -> Iterator[str]:
        return iter(())

    def _read(self, folder: Path, member: str, split: str | None) -> Dataset:
        data = read_folder(folder, split)
        return replace(data, corpus=Corpus(data.corpus))

    def _fetch(self, member: str, split: str | None) -> Dataset:
        with as_file(files("whyrank.datasets") / "toy") as folder:
            return self._read(folder, member, split)
