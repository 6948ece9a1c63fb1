"""`load`: a data set by name, by folder, by file, or from a function of another package."""

import ast
import difflib
import importlib
import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal

from whyrank.datasets.beir import Beir
from whyrank.datasets.bright import Bright
from whyrank.datasets.bundled import Toy
from whyrank.datasets.family import Family
from whyrank.datasets.folder import read_folder
from whyrank.datasets.judged import read_file
from whyrank.datasets.pools import Birco, NovelEval
from whyrank.datasets.recommendation import Source
from whyrank.datasets.recommendation.public import MovieLensFamily, P5Family
from whyrank.datasets.trec_dl import TrecDL
from whyrank.errors import BadInput, NotFound, Untrusted, want
from whyrank.registry import make
from whyrank.types import Dataset

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (Toy(), Beir(), TrecDL(), Bright(), Birco(), NovelEval(), MovieLensFamily(), P5Family())
}
GENERATED = {"world": "whyrank.data_synth.world_data:Worlds"}
"""Families that are made and not read, by dotted path: what makes them stands above data sets, and is imported late."""
_FUNCTION = re.compile(r"\w[\w.]*:\w+")
GROUP = "whyrank.datasets"
"""The entry-point group in which other packages name functions that return a `Dataset`."""


def load(name: str | Path, split: str | None = None, *, told_by: str | Path | None = None) -> Dataset:
    """Load a data set.

    Args:
        name: a name (`"toy"`, `"world"`, `"beir/scifact"`, `"trec_dl/dl19"`, `"bright/biology"`,
            `"bright/biology/long"`), a folder (in BEIR layout, or of texts), a candidate file of rank_llm, a collection
            as one file (`.jsonl`, `.json`, `.parquet`, `.csv`, `.tsv`), a source of recommendation data
            (`"s3('Beauty.txt')"`), or a function that returns a `Dataset`: by its dotted path
            (`"my_package.module:function"`) or by its entry point in the group `whyrank.datasets`. A name wins over a
            folder that is called the same; write `"./toy"` for the folder.
        split: which judgements, by default those of the test split.
        told_by: the file that the name is from, if it is from one: no function is then called by its dotted path.

    Raises:
        NotFound: there is no such data set, or it is not here and cannot be fetched; what to put where is told.
        BadInput: there is no such split, or a file is damaged (file and line are told).

    Examples:
        >>> data = load("toy")
        >>> len(data.corpus), len(data.queries)
        (80, 15)
    """
    want(name, (str, Path), "load: the data set", "hand in a name or a folder, such as load('toy')")
    path, text = Path(name), str(name)
    family, _, member = text.partition("/")
    if isinstance(name, str) and family in (families := _families()):
        return families[family].load(member, split)
    if re.fullmatch(r"\w+\(.*\)\s*", text, re.DOTALL):
        return _source(text, told_by).load(split)
    there = _there(path)
    if there == "folder":
        return read_folder(path, split)
    if there == "file":
        return read_file(path, split)
    target = (points := _entry_points()).get(text, text)
    if told_by is not None and text not in points and _FUNCTION.fullmatch(text):
        raise Untrusted(
            f"{told_by} names its data by a function, {text!r}, and no function is called because a file names it: "
            f"give the data set yourself (--data), or trust that folder (--trust {told_by})"
        )
    if _FUNCTION.fullmatch(target):
        return _call(text, target, split)
    raise NotFound(f"there is no data set, folder or file {text!r}{_hint(text)}")


def _source(spec: str, told_by: str | Path | None) -> Source:
    """The source of recommendation data that a spec names; one from a file names no code by a dotted path."""
    if told_by is not None and _has_dotted_path(spec):
        raise Untrusted(
            f"{told_by} names its data by a dotted path, {spec!r}, and no code is imported because a file names it: "
            f"give the data set yourself (--data), or trust that folder (--trust {told_by})"
        )
    return make(spec, Source)


def _has_dotted_path(spec: str) -> bool:
    try:
        return any(isinstance(node, ast.Attribute) for node in ast.walk(ast.parse(spec.strip(), mode="eval")))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False  # `make` says what is wrong with it


def _there(path: Path) -> Literal["folder", "file", ""]:
    """What lies at a path; nothing where a name is too long to be one."""
    try:
        return "folder" if path.is_dir() else "file" if path.is_file() else ""
    except OSError:
        return ""


def available() -> tuple[str, ...]:
    """The names of the data sets that are on this machine, or that installed packages bring."""
    return (*(name for family in _families().values() for name in sorted(family.available())), *sorted(_entry_points()))


def judged_only() -> tuple[str, ...]:
    """Those of `available` of which only queries and judgements are here: their documents are fetched on first use."""
    return tuple(name for family in _families().values() for name in sorted(family.judged_only()))


def _families() -> dict[str, Family]:
    made = ((name, path.partition(":")) for name, path in GENERATED.items())
    return FAMILIES | {name: getattr(importlib.import_module(module), kind)() for name, (module, _, kind) in made}


def _entry_points() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=GROUP)}


def _call(name: str, target: str, split: str | None) -> Dataset:
    module, _, function = target.partition(":")
    try:
        make = getattr(importlib.import_module(module), function)
    except (ModuleNotFoundError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name is not None and not module.startswith(error.name):
            raise
        raise NotFound(f"there is no data set {name!r}: {error}") from None
    data = make() if split is None else make(split=split)
    if not isinstance(data, Dataset):
        raise BadInput(f"{name!r} returns a {type(data).__name__}, but a data set's function must return a Dataset")
    return data


def _hint(name: str) -> str:
    known = {family.title(member) for family in _families().values() for member in family.members}
    near = difflib.get_close_matches(name, sorted({*known, *available()}), n=1)
    if near:
        return f": did you mean {near[0]!r}?"
    return f"; names begin with {', '.join(_families())}; a folder needs corpus.jsonl, queries.jsonl and qrels/test.tsv"
