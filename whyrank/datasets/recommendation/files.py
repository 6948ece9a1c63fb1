"""Sources that are files on this machine: tables of clicks, RecBole, S3-Rec, LLMRank."""

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from whyrank.datasets.recommendation.log import EventRows, Log, digest
from whyrank.datasets.recommendation.pools import as_run, read_lists
from whyrank.datasets.recommendation.source import Source
from whyrank.datasets.recommendation.tables import head, one_file, rows, sequences, texts
from whyrank.errors import BadInput, NotFound
from whyrank.types import Interactions


@dataclass(frozen=True)
class Table(Source):
    """A CSV of events, one a row under a head, and one of items: `interactions('clicks.csv', items='items.csv')`.

    Attributes:
        path: the file; its cells are set apart by tabs if its name ends in .tsv, else by commas.
        user: the column of users.
        item: the column of items, in both files.
        time: the column of times, numbers or ISO dates; None if there is none and the order of the file counts.
        rating: the column of ratings, or None.
        items: the file of items, whose other columns become their text; None if there is none.
        scale: the lowest and the highest rating that there can be; () takes any.
        repeats: take rows that say the same of the same user, item and time again, instead of refusing them.
    """

    path: str
    _: KW_ONLY
    user: str = "user"
    item: str = "item"
    time: str | None = "time"
    rating: str | None = None
    items: str | None = None
    scale: tuple[float, ...] = ()
    repeats: bool = False

    def __post_init__(self) -> None:
        """Refuse a scale that is none."""
        if self.scale and (len(self.scale) != 2 or self.scale[0] >= self.scale[1]):
            raise BadInput(f"interactions: scale must be the lowest and the highest rating, not {self.scale}")

    def read(self) -> Log:
        """The events of the table."""
        path = Path(self.path)
        events = table_events(
            [path], self.user, self.item, self.time, self.rating, _comma(path), True, self.scale, self.repeats
        )
        told = {} if self.items is None else texts(Path(self.items), self.item, _comma(Path(self.items)))
        return Log(path.name.partition(".")[0], digest(path), events, told)


@dataclass(frozen=True)
class RecBole(Source):
    """A folder of RecBole's atomic files (Zhao et al., 2021): `NAME.inter` and, where there are texts, `NAME.item`.

    Where the folder has `NAME.train.inter`, `.valid.inter` and `.test.inter`, they are read as one log;
    `protocol=given_split()` keeps that split.

    Attributes:
        folder: the folder.
        repeats: take rows that say the same of the same user, item and time again, instead of refusing them.
    """

    folder: str
    _: KW_ONLY
    repeats: bool = False

    def read(self) -> Log:
        """The events and items of the folder."""
        folder = Path(self.folder)
        parts = [next(iter(sorted(folder.glob(f"*.{part}.inter"))), None) for part in ("train", "valid", "test")]
        files = [file for file in parts if file is not None] or [one_file(folder, ".inter")]
        if 1 < len(files) < 3:
            raise NotFound(f"{folder}: a split of RecBole has .train.inter, .valid.inter and .test.inter")
        columns = head(files[0], "\t", quoted=False)
        time, rating = ("timestamp" in columns, "rating" in columns)
        events = table_events(
            files,
            "user_id",
            "item_id",
            "timestamp" if time else None,
            "rating" if rating else None,
            "\t",
            False,
            repeats=self.repeats,
        )
        items = sorted(folder.glob("*.item"))
        told = texts(items[0], "item_id", "\t", quoted=False) if items else {}
        return Log(files[0].name.partition(".")[0], digest(*files), events, told)


@dataclass(frozen=True)
class S3(Source):
    """A sequence file of S3-Rec (Zhou et al., 2020): `user item item …`, oldest first, without times or texts.

    Amazon's raw files of 2014 are sorted by item id within a day, and nothing in this form can undo that: part of every
    figure on them, published ones too, is an artefact of ids.

    Attributes:
        path: the file.
        items: a CSV or TSV of items with a column `item`, whose other columns become their text; None if there is none.
    """

    path: str
    _: KW_ONLY
    items: str | None = None

    def read(self) -> Log:
        """The sequences of the file."""
        path = Path(self.path)
        events = Interactions.of((user, items) for _, user, items in sequences(path))
        told = {} if self.items is None else texts(Path(self.items), "item", _comma(Path(self.items)))
        return Log(path.name.partition(".")[0], digest(path), events, told)


@dataclass(frozen=True)
class LLMRank(Source):
    """A folder of LLMRank (Hou et al., 2024): `NAME.test.inter`, `NAME.item` and candidate lists of recommenders.

    All users are learnt from; evaluated are those for whom there are lists.

    Attributes:
        folder: the folder.
        lists: whose list become the candidates, such as "sasrec"; "" takes none.
    """

    folder: str
    _: KW_ONLY
    lists: str = ""

    def read(self) -> Log:
        """Histories, items and lists of the folder."""
        folder = Path(self.folder)
        events = one_file(folder, ".test.inter")
        name = events.name.removesuffix(".test.inter")
        log = Interactions.of(_histories(events))
        told = texts(one_file(folder, ".item"), "item_id", "\t", quoted=False)
        files = {file.name.removeprefix(f"{name}."): file for file in sorted(folder.glob(f"{name}.*"))}
        kinds = [kind for kind in files if kind not in {"item", "inter", "test.inter", "valid.inter", "train.inter"}]
        if self.lists and self.lists not in kinds:
            raise NotFound(f"{folder} has no lists of {self.lists!r}: there are {', '.join(kinds) or 'none'}")
        users = None if not kinds else frozenset(read_lists(files[self.lists or kinds[0]]))
        run = as_run(read_lists(files[self.lists]), self.lists) if self.lists else None
        return Log(name, digest(events), log, told, users, run)


def table_events(
    files: list[Path],
    user: str,
    item: str,
    time: str | None,
    rating: str | None,
    delimiter: str,
    quoted: bool,
    scale: tuple[float, ...] = (),
    repeats: bool = False,
) -> Interactions:
    """The events of one table, or of the three of a split."""
    found = EventRows((scale[0], scale[1]) if scale else None, repeats or len(files) > 1)
    columns = [user, item, *([time] if time else []), *([rating] if rating else [])]
    for part, file in enumerate(files):
        found.part = part if len(files) > 1 else None
        for number, (who, what, *more) in rows(file, columns, delimiter, quoted):
            when = more[0] if time else None
            found.add(f"{file}:{number}", number, who, what, when, more[-1] if rating else None)
    return found.done(files[0])


def _histories(path: Path) -> Iterator[tuple[str, list[str]]]:
    """User, history and target of each line of an `.inter` file whose history stands in one cell."""
    columns = ("user_id", "item_id_list", "item_id")
    for _, (user, history, target) in rows(path, columns, "\t", quoted=False):
        yield user, [*history.split(), target]


def _comma(path: Path) -> str:
    return "\t" if path.name.removesuffix(".gz").endswith(".tsv") else ","
