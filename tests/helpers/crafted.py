"""Index folders as an attacker makes them: every checksum is right, and what lies behind it is not.

Run as a program: `python crafted.py KIND FOLDER MODEL FIRST` opens and searches the crafted folders of one kind, from
the FIRST on, and prints a line of JSON before and after each. A signal ends that process and not the tests.
"""

import hashlib
import io
import json
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from by_words import ByWords

from whyrank.errors import WhyrankError
from whyrank.llm.fake import Fake
from whyrank.retrieval.around.sharded import Sharded
from whyrank.retrieval.lexical.bm25 import BM25, BM25Q
from whyrank.retrieval.tree.retriever import Tree
from whyrank.retrieval.vector.late import Late
from whyrank.retrieval.vector.sparse import Splade
from whyrank.types import Document, Query

DOCUMENTS = [
    Document(f"d{n}", f"bee {n % 7} dances of hive{n % 5} and flower{n} with bees and bees of {'wax ' * (n % 4)}")
    for n in range(40)
]
QUERIES = [Query("q1", "bees dance to flowers"), Query("q2", "hive3 wax"), Query("q3", "why 5", frozenset({"d5"}))]

Change = Callable[[Path], None]


def sealed(folder: Path) -> None:
    """Give a folder of arrays the checksums of what lies in it now."""
    told = json.loads((folder / "index.json").read_text())
    told.pop("checksum", None)
    told["files"] = {
        file.name: f"{file.stat().st_size}:{hashlib.sha256(file.read_bytes()).hexdigest()}"
        for file in sorted(folder.iterdir())
        if file.name != "index.json" and file.is_file()
    }
    write_told(folder, told)


def write_told(folder: Path, told: dict[str, Any]) -> None:
    """Write a description with its checksum."""
    told.pop("checksum", None)
    told["checksum"] = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    (folder / "index.json").write_text(json.dumps(told))


def saved_as(make: Callable[[np.ndarray], np.ndarray], name: str) -> Change:
    """Another array in the place of one."""

    def change(folder: Path) -> None:
        np.save(folder / f"{name}.npy", make(np.load(folder / f"{name}.npy")), allow_pickle=True)
        sealed(folder)

    return change


def bytes_as(data: bytes, name: str) -> Change:
    """Other bytes in the place of a file."""

    def change(folder: Path) -> None:
        (folder / name).write_bytes(data)
        sealed(folder)

    return change


def told_as(**values: object) -> Change:
    """Other values in the description."""

    def change(folder: Path) -> None:
        write_told(folder, {**json.loads((folder / "index.json").read_text()), **values})

    return change


def about_as(**values: object) -> Change:
    """Other values in what the description says of how the index was made; None takes one out."""

    def change(folder: Path) -> None:
        told = json.loads((folder / "index.json").read_text())
        told["about"] = {name: value for name, value in {**told["about"], **values}.items() if value is not None}
        write_told(folder, told)

    return change


def removed(name: str) -> Change:
    """A file less, which the description does not name any more."""

    def change(folder: Path) -> None:
        (folder / name).unlink()
        sealed(folder)

    return change


ARRAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "of -1": lambda a: np.full_like(a, -1) if a.dtype.kind in "if" else np.full(a.shape, -1, dtype=np.int32),
    "of 10**8": lambda a: np.full(a.shape, 10**8).astype(a.dtype),
    "of the lowest": lambda a: np.full(a.shape, -(2**31)).astype(a.dtype if a.dtype.kind in "if" else np.int32),
    "of 0": np.zeros_like,
    "one short": lambda a: a[:-1],
    "one long": lambda a: np.concatenate([a, a[-1:]]),
    "none": lambda a: a[:0],
    "backwards": lambda a: a[::-1].copy(),
    "the last far off": lambda a: np.concatenate([a[:-1], np.full_like(a[-1:], 100)]),
    "one in the middle negative": lambda a: np.concatenate(
        [a[: len(a) // 2], -a[len(a) // 2 :][:1] - 1, a[len(a) // 2 + 1 :]]
    ),
    "of other numbers": lambda a: a.astype(np.float64 if a.dtype.kind in "iu" else np.int64),
    "wide": lambda a: a.astype(np.int64 if a.dtype != np.int64 else np.int32),
    "the other way round": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "of two dimensions": lambda a: np.stack([a, a]),
    "of no dimension": lambda a: np.array(3, dtype=a.dtype),
    "of texts": lambda a: a.reshape(-1)[:9].astype(str),
    "of objects": lambda a: np.array([object], dtype=object),
    "of fields": lambda a: np.zeros(len(a), dtype=[("a", a.dtype), ("b", a.dtype)]),
    "of yes and no": lambda a: a.astype(bool),
    "of complex numbers": lambda a: a.astype(np.complex64),
}
FLOATS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "nan": lambda a: np.full_like(a, np.nan),
    "inf": lambda a: np.full_like(a, np.inf),
    "-inf": lambda a: np.full_like(a, -np.inf),
    "one nan": lambda a: np.concatenate([a[:-1], np.full_like(a[-1:], np.nan)]),
    "the largest": lambda a: np.full_like(a, np.finfo(a.dtype).max),
}
TEXTS: dict[str, object] = {
    "numbers": [1] * 40,
    "twice": ["d0"] * 40,
    "short": ["d0"],
    "none": [],
    "of null": [None] * 40,
    "of lists": [["d0"]] * 40,
    "a mapping": {"d0": 1},
    "a text": "d0" * 40,
    "a number": 5,
}


def _npy(shape: str, descr: str = "'<i4'") -> bytes:
    """An array file whose head says anything."""
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(64)


def _npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.arange(3))
    return file.getvalue()


RAW: dict[str, bytes] = {
    "empty": b"",
    "noise": bytes(range(256)) * 4,
    "a zip": _npz(),
    "cut": _npy("(10**6,)"),
    "huge": _npy("(99999999999999999999,)"),
    "negative": _npy("(-1,)"),
    "a nested shape": _npy("(" * 300 + ")" * 300),
    "an expression": _npy("(__import__('os').abort(),)"),
    "a pickle": b"\x80\x04\x95\x14\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x05abort\x94\x93\x94)R\x94.",
    "no type": _npy("(3,)", "'<q99'"),
    "objects": _npy("(3,)", "'|O'"),
    "at odd places": _npy("(10,)") + b"\0",
}
DEEP = b"[" * 200_000 + b"]" * 200_000
JSON: dict[str, bytes] = {
    "deep": DEEP,
    "digits": b"[" + b"9" * 10_000 + b"]",
    "no JSON": b"{'a': 1}",
    "no UTF-8": b'["\xff\xfe"]',
    "half a surrogate": json.dumps(["\ud800", *(f"d{n}" for n in range(39))]).encode(),
}
DESCRIPTIONS: dict[str, bytes] = {
    "deep": DEEP,
    "a list": b"[1]",
    "a number": b"7",
    "null": b"null",
    "nothing": b"",
    "digits": b'{"kind": ' + b"9" * 10_000 + b"}",
    "no UTF-8": b"\xff",
}


def of_arrays(names: dict[str, str], lists: list[str]) -> Iterator[tuple[str, Change]]:
    """The crafted folders of any index that `retrieval/folder.py` writes; `names` says which arrays are of floats."""
    for name, kind in names.items():
        for what, make in {**ARRAYS, **(FLOATS if kind == "f" else {})}.items():
            yield f"{name} {what}", saved_as(make, name)
        yield f"{name} missing", removed(f"{name}.npy")
    first = next(iter(names))
    for what, data in RAW.items():
        yield f"{first} {what}", bytes_as(data, f"{first}.npy")
    for name in lists:
        for what, data in {**{what: json.dumps(value).encode() for what, value in TEXTS.items()}, **JSON}.items():
            yield f"{name} {what}", bytes_as(data, f"{name}.json")
        yield f"{name} missing", removed(f"{name}.json")
    yield from of_descriptions()


def _elsewhere(folder: Path) -> None:
    """All files are there, and one of them by a way around."""
    told = json.loads((folder / "index.json").read_text())
    files = {f"../{folder.name}/{name}" if name == "ids.json" else name: at for name, at in told["files"].items()}
    write_told(folder, told | {"files": files})


def of_descriptions() -> Iterator[tuple[str, Change]]:
    """Other contents of index.json."""
    for what, data in DESCRIPTIONS.items():
        yield f"index.json {what}", lambda folder, data=data: (folder / "index.json").write_bytes(data)
    for field in ("kind", "version", "about", "files", "collection"):
        for value in (None, 5, "x", [], {"a": 1}, [["x"]], 1.5):
            yield f"{field} {value!r}", told_as(**{field: value})
    for foreign in ("../other/ids.json", "/etc/hostname.json", "a/ids.json", "..\\ids.json", "ids.json\n", ".json", ""):
        yield f"files {foreign!r}", told_as(files={foreign: "1:0"})
    yield "files of numbers", told_as(files={"ids.json": 5})
    yield "files elsewhere, whole", _elsewhere


LEXICAL = {"offsets": "i", "documents": "i", "counts": "i", "weights": "f", "lengths": "i"}


def lexical() -> Iterator[tuple[str, Change]]:
    """Of BM25."""
    yield from of_arrays(LEXICAL, ["ids", "terms"])
    for field, values in {
        "analyzer": (5, [], "latin", "../x", None, {"a": 1}),
        "k1": ("a", -1, float("nan"), 1e999, [], None, True),
        "b": ("a", 2, float("nan"), None),
        "lengths": ("short", 5, [], None),
    }.items():
        for value in values:
            yield f"about {field} {value!r}", about_as(**{field: value})
    yield "about nothing", told_as(about={})
    yield "about a path", about_as(path="/etc", processes=10**6, memory="9999999GB", threads=-5)

    def unsorted(folder: Path) -> None:
        offsets, documents = np.load(folder / "offsets.npy"), np.load(folder / "documents.npy")
        longest = int(np.argmax(np.diff(offsets)))
        documents[offsets[longest] : offsets[longest] + 2] = documents[offsets[longest] : offsets[longest] + 2][
            ::-1
        ].copy()
        np.save(folder / "documents.npy", documents)
        sealed(folder)

    yield "documents of a term swapped", unsorted
    yield (
        "lengths negative with the right sum",
        saved_as(lambda a: np.array([-1, a[0] + a[1] + 1, *a[2:]], a.dtype), "lengths"),
    )


def vectors() -> Iterator[tuple[str, Change]]:
    """Of dense vectors: manifest.json, ids.jsonl, vectors.bin."""

    for field in (
        *("dtype", "dimensions", "about", "rows", "corpus", "ids_bytes", "vectors_crc", "ids_crc", "complete"),
        *("collection", "format", "version"),
    ):
        for value in (None, -1, 2**70, "x", [], 1.5, True, {}, 0, "float64", 10**300):
            yield f"{field} {value!r:.20}", _manifest(**{field: value})
    yield "a foreign field", _manifest(trust_remote_code=True)
    for what, raw in DESCRIPTIONS.items():
        yield f"manifest.json {what}", lambda folder, raw=raw: (folder / "manifest.json").write_bytes(raw)
    for value in (np.nan, np.inf, -np.inf):
        yield f"vectors {value}", _data("vectors.bin", lambda b, v=value: np.full(len(b) // 2, v, np.float16).tobytes())
        yield (
            f"one of the vectors {value}",
            _data("vectors.bin", lambda b, v=value: b[:-2] + np.array([v], np.float16).tobytes()),
        )
    yield "vectors short", _data("vectors.bin", lambda b: b[:-2])
    yield "vectors none", _data("vectors.bin", lambda b: b"")
    yield "ids numbers", _data("ids.jsonl", lambda b: b"1\n" * 40)
    yield "ids twice", _data("ids.jsonl", lambda b: b'"d0"\n' * 40)
    yield "ids short", _data("ids.jsonl", lambda b: b'"d0"\n')
    yield "ids more", _data("ids.jsonl", lambda b: b + b'"new"\n')
    yield "ids no JSON", _data("ids.jsonl", lambda b: b"x\n" * 40)
    yield "ids deep", _data("ids.jsonl", lambda b: DEEP + b"\n")
    yield "ids lists", _data("ids.jsonl", lambda b: b"[]\n" * 40)
    for probe in (None, [], "x", [1e999], ["a"] * 32, [[1]] * 32, {}, [10**400], [0.0] * 32):
        yield f"probe {probe!r:.20}", _made(probe=probe)
    for part in (None, [], "x", {"model": 5}, {"model": "words", "normalize": "x"}, {"model": "words", "dtype": "O"}):
        yield f"part {part!r:.40}", _made(part=part)


def _manifest(**values: object) -> Change:
    """Other values in the manifest of a folder of vectors."""

    def change(folder: Path) -> None:
        told = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**told, **values}))

    return change


def _made(**values: object) -> Change:
    """Other values in what that manifest says of how the vectors were made."""

    def change(folder: Path) -> None:
        about = json.loads((folder / "manifest.json").read_text())["about"]
        _manifest(about={**about, **values})(folder)

    return change


def _data(name: str, make: Callable[[bytes], bytes]) -> Change:
    """Other data in a folder of vectors, with the sums that the manifest then must have."""

    def change(folder: Path) -> None:
        new = make((folder / name).read_bytes())
        (folder / name).write_bytes(new)
        ids = {"ids_bytes": len(new), "ids_crc": zlib.crc32(new)}
        _manifest(**(ids if name == "ids.jsonl" else {"vectors_crc": zlib.crc32(new)}))(folder)

    return change


def splade() -> Iterator[tuple[str, Change]]:
    """Of learned sparse vectors."""
    yield from of_arrays({"offsets": "i", "documents": "i", "weights": "f", "probe": "f"}, ["ids"])
    yield "about max_terms", about_as(max_terms="x")
    yield "about nothing", told_as(about={})


def late() -> Iterator[tuple[str, Change]]:
    """Of one vector a token."""
    yield from of_arrays({"offsets": "i", "vectors": "f", "probe": "f"}, ["ids"])
    yield "about dtype", about_as(dtype="O")
    yield "about nothing", told_as(about={})
    yield "vectors narrow", saved_as(lambda a: a[:, :-1].copy(), "vectors")
    yield "vectors of columns", saved_as(np.asfortranarray, "vectors")


def tree() -> Iterator[tuple[str, Change]]:
    """Of a tree of clusters."""
    names = {"parents": "i", "vectors": "f", "frequencies": "i"}
    for texts in ("texts", "sketches", "written"):
        names |= {texts: "i", f"{texts}-offsets": "i"}
    yield from of_arrays(names, ["ids", "words"])
    for what, make in {
        "a ring": lambda a: np.concatenate([a[:40], np.roll(np.arange(40, len(a)), 1)]),
        "two roots": lambda a: np.concatenate([a[:-2], [-1, -1]]),
        "its own parent": lambda a: np.concatenate([a[:41], [41], a[42:]]),
        "a leaf above": lambda a: np.concatenate([[1], a[1:]]),
        "a chain": lambda a: np.concatenate([np.full(40, 40), np.arange(41, 200_040), [-1]]),
    }.items():
        yield f"parents {what}", saved_as(lambda a, make=make: make(a).astype(np.int64), "parents")
    yield "texts no UTF-8", saved_as(lambda a: np.full_like(a, 255), "texts")
    for text in (
        b"[]",
        b"[[[1, 2]], [3]]",
        b'[[["a", NaN]], []]',
        b'[[["a", "b"]], []]',
        b"[" * 5000,
        b'[[], ["a", 5]]',
    ):
        yield f"sketches {text!r:.20}", _sketches(text)
    for spec in (
        5,
        None,
        "",
        "tree(",
        "bm25()",
        "os.abort()",
        "tree(beam='x')",
        "tree(alpha=9)",
        "tree(sampling=fake())",
    ):
        yield f"spec {spec!r}", about_as(spec=spec)
    for name in ("encoder", "build", "branching", "summaries"):
        yield f"about {name}", about_as(**{name: [1]})


def _sketches(text: bytes) -> Change:
    def change(folder: Path) -> None:
        inner = len(np.load(folder / "sketches-offsets.npy")) - 1
        np.save(folder / "sketches.npy", np.frombuffer(text * inner, dtype=np.uint8))
        np.save(folder / "sketches-offsets.npy", np.arange(inner + 1, dtype=np.int64) * len(text))
        sealed(folder)

    return change


KINDS: dict[str, Callable[[], Iterator[tuple[str, Change]]]] = {
    each.__name__: each for each in (lexical, vectors, splade, late, tree)
}


def built(kind: str, model: str, path: Path) -> None:
    """A folder as whyrank writes it."""
    llm = Fake("[50] * 10")
    part = {
        "lexical": lambda: BM25(str(path)),
        "vectors": lambda: ByWords("words", path=str(path)),
        "splade": lambda: Splade(model, path=str(path), device="cpu"),
        "late": lambda: Late(model, path=str(path), device="cpu"),
        "tree": lambda: Tree(llm, path=str(path), encoder=ByWords("words"), branching=4, iterations=3),
    }[kind]()
    part.index(DOCUMENTS)


def ways(kind: str, model: str, path: Path) -> Iterator[Callable[[], Any]]:
    """The ways to open a folder of this kind."""
    if kind == "lexical":
        others = path.parent / "shards"
        yield lambda: BM25.open(path)
        yield lambda: BM25(str(path), k1=1.3)
        yield lambda: BM25Q(str(path), b=0.5)
        yield lambda: Sharded(BM25(), str(others))
        yield lambda: BM25.open(path).append([Document("new", "a bee of hive3")])
    elif kind == "vectors":
        yield lambda: ByWords.open(path, "words")
        yield lambda: ByWords("words", path=str(path))
        yield lambda: Sharded(ByWords("words"), str(path.parent / "shards"))
        yield lambda: ByWords("words", path=str(path)).index(DOCUMENTS)
    elif kind in ("splade", "late"):
        yield lambda: {"splade": Splade, "late": Late}[kind].open(path, model)
        yield lambda: {"splade": Splade, "late": Late}[kind](model, path=str(path), device="cpu")
    else:
        llm, encoder = Fake("50 50 50 50"), ByWords("words")
        yield lambda: Tree.open(path, llm, encoder=encoder)
        yield lambda: Tree(llm, path=str(path), encoder=encoder, branching=4, iterations=3)
        yield lambda: Tree.open(path, llm, encoder=encoder).append([Document("new", "a bee of hive3")])


def outcome(kind: str, model: str, path: Path) -> list[str]:
    """What comes of each way: the type of error, "same" or "other" for a ranking of known documents."""
    found = []
    known = {document.id for document in DOCUMENTS} | {"new", "zero"}
    for way in ways(kind, model, path):
        try:
            run = way().search(QUERIES, k=20)
            assert all(id in known for query in run for id in run[query].ids)
            assert all(np.isfinite(run[query].scores).all() for query in run)
            found.append("ran")
        except WhyrankError as error:
            found.append(type(error).__name__)
        except Exception as error:
            found.append(f"untyped {type(error).__name__}: {error}"[:200])
    return found


def main(kind: str, folder: str, model: str, first: str) -> None:
    """Go through the crafted folders of a kind."""
    root = Path(folder)
    good = root / "good"
    if not good.exists():
        built(kind, model, good)
        if kind in ("lexical", "vectors"):
            at = root / "shards" / "0"
            zero = [Document("zero", "another bee")]
            (BM25(str(at)) if kind == "lexical" else ByWords("words", path=str(at))).index(zero)
    for number, (name, change) in enumerate([("good", lambda _: None), *KINDS[kind]()]):
        if number < int(first):
            continue
        crafted = root / "crafted"
        shutil.rmtree(crafted, ignore_errors=True)
        shutil.copytree(good, crafted)
        change(crafted)
        shutil.rmtree(root / "shards" / "1", ignore_errors=True)
        shutil.copytree(crafted, root / "shards" / "1", dirs_exist_ok=True)
        sys.stdout.write(json.dumps([number, name, None]) + "\n")
        sys.stdout.flush()
        sys.stdout.write(json.dumps([number, name, outcome(kind, model, crafted)]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
