"""Public logs in the files that their authors publish: MovieLens, Amazon Reviews 2023, the splits of P5."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from whyrank.datasets.family import Family
from whyrank.datasets.recommendation.files import table_events
from whyrank.datasets.recommendation.log import EventRows, Fields, Log, digest
from whyrank.datasets.recommendation.source import Source
from whyrank.datasets.recommendation.tables import sequences, texts
from whyrank.errors import BadInput, NotFound
from whyrank.io.files import lines
from whyrank.io.records import records
from whyrank.types import Dataset, Interactions

GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)


@dataclass(frozen=True)
class MovieLens(Source):
    """A folder as GroupLens publishes it: 100K (`u.data`), 1M and 10M (`ratings.dat`), 20M and later (`ratings.csv`).

    Attributes:
        folder: the folder.
    """

    folder: str

    def read(self) -> Log:
        """The ratings, and titles with genres."""
        folder = Path(self.folder)
        if (file := folder / "ratings.csv").is_file():
            events = table_events([file], "userId", "movieId", "timestamp", "rating", ",", True)
            told = texts(folder / "movies.csv", "movieId") if (folder / "movies.csv").is_file() else {}
            return Log(folder.name, digest(file), events, {id: _renamed(fields) for id, fields in told.items()})
        if (file := folder / "ratings.dat").is_file():
            return Log(folder.name, digest(file), _delimited(file, "::"), _movies(folder / "movies.dat", "::"))
        if (file := folder / "u.data").is_file():
            return Log(folder.name, digest(file), _delimited(file, "\t"), _movies(folder / "u.item", "|"))
        raise NotFound(f"no ratings.csv, ratings.dat or u.data in {folder}: unpack one of GroupLens' archives there")


@dataclass(frozen=True)
class Amazon2023(Source):
    """One category of Amazon Reviews 2023 (Hou and others, 2024), `NAME.csv` (user, item, rating, time in ms).

    Attributes:
        path: the CSV of the benchmark, `5core/rating_only/Video_Games.csv`; beside it, or in a folder above,
            `meta_Video_Games.jsonl` has the texts where it is there.
    """

    path: str

    def read(self) -> Log:
        """The ratings and what is known of the items; of several ratings of one item the earliest counts."""
        file = Path(self.path)
        events = table_events([file], "user_id", "parent_asin", "timestamp", "rating", ",", True, (), True)
        places = (folder / f"meta_{file.name.partition('.')[0]}.jsonl" for folder in file.parents)
        meta = next((place for place in places if place.is_file()), None)
        held = set(events.items)
        told = {} if meta is None else {id: fields for id, fields in _meta(meta) if id in held}
        return Log(file.name.partition(".")[0], digest(file), events, told)


@dataclass(frozen=True)
class P5(Source):
    """A folder of P5 (Geng and others, 2022): `sequential_data.txt`. Its ids follow the sequences, and tell of them.

    Attributes:
        folder: the folder.
    """

    folder: str

    def read(self) -> Log:
        """The sequences."""
        file = Path(self.folder) / "sequential_data.txt"
        return Log(
            f"P5-{file.parent.name}", digest(file), Interactions.of((user, items) for _, user, items in sequences(file))
        )


class _Logs(Family):
    """Folders of logs under a data root; `load` takes them with the default protocol, a spec with any."""

    splits = ("test", "dev")
    source: ClassVar[type[MovieLens | P5]]
    marks: ClassVar[tuple[str, ...]]
    """Files one of which a folder has."""

    def _present(self, folder: Path) -> Iterator[str]:
        found = {file.parent.name for mark in self.marks for file in folder.glob(f"*/{mark}")}
        return iter(sorted(found))

    def _read(self, folder: Path, member: str, split: str | None) -> Dataset:
        return self.source(str(folder / member)).load(split)


class MovieLensFamily(_Logs):
    """`movielens/ml-1m` and so on."""

    name = "movielens"
    members = ("ml-100k", "ml-1m", "ml-10m", "ml-20m", "ml-25m", "ml-32m", "ml-latest-small")
    layout = "GroupLens' archive, unpacked, into movielens/{member}/"
    source, marks = MovieLens, ("u.data", "ratings.dat", "ratings.csv")


class P5Family(_Logs):
    """`p5/beauty` and so on."""

    name = "p5"
    members = ("beauty", "sports", "toys", "yelp")
    layout = "sequential_data.txt of P5's archive into p5/{member}/"
    source, marks = P5, ("sequential_data.txt",)


def _delimited(file: Path, delimiter: str) -> Interactions:
    """Ratings without a head: user, item, rating, time."""
    found = EventRows((0.5, 5.0))
    for number, line in lines(file):
        cells = line.split(delimiter)
        if len(cells) != 4:
            raise BadInput(f"{file}:{number}: {len(cells)} cells instead of user, item, rating and time")
        found.add(f"{file}:{number}", number, cells[0], cells[1], cells[3], cells[2])
    return found.done(file)


def _movies(file: Path, delimiter: str) -> dict[str, Fields]:
    """Titles and genres of the older archives, which are in Latin-1."""
    if not file.is_file():
        return {}
    found: dict[str, Fields] = {}
    for line in file.read_text("latin-1").splitlines():
        id, title, *more = line.split(delimiter)
        flags = more[3:] if delimiter == "|" else []
        genres = [name for name, flag in zip(GENRES, flags, strict=False) if flag == "1"] or more[0].split("|")
        found[id] = {"title": title, "category": ", ".join(genres)}
    return found


def _renamed(fields: Fields) -> Fields:
    return {"category" if key == "genres" else key: value.replace("|", ", ") for key, value in fields.items()}


def _meta(file: Path) -> Iterator[tuple[str, Fields]]:
    for where, row in records(file):
        if not isinstance(row.get("parent_asin"), str):
            raise BadInput(f"{where}: an item without a parent_asin")
        yield row["parent_asin"], _amazon_fields(row)


def _amazon_fields(row: Mapping[str, object]) -> Fields:
    def told(key: str) -> str:
        value = row.get(key) or ""
        return " ".join(map(str, value)) if isinstance(value, list) else str(value)

    return {
        "title": told("title"),
        "brand": told("store"),
        "category": told("categories"),
        "description": told("description"),
    }
