"""Taking a folder for one task: done once, gone on with after any end, held by one process, never another's."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from whyrank.errors import BadInput
from whyrank.io.files import is_partial, sweep, write_new
from whyrank.io.folders import as_json, plain, read_manifest, versions, write_json, write_manifest
from whyrank.journal import holding
from whyrank.parameters import current
from whyrank.progress import warn

PAID = {"trace.jsonl", "scores.jsonl"}
"""What finished work is gone on from; each entry is known by its content, so that it serves whatever asks for it."""

MADE = {"run.trec", "notes.jsonl", "report.json", "run.partial.trec", "tasks.jsonl", "pairs.jsonl", "dropped.jsonl"}
"""What is made of it."""

BUSY = "another run writes to this folder; wait for it, or give another folder"


@contextmanager
def taking(
    folder: Path,
    task: Mapping[str, Any],
    packages: Sequence[str] = (),
    *,
    another: str = "another run",
    nothing: str = "no run",
    how: Collection[str] = (),
) -> Iterator[dict[str, Any] | None]:
    """Hold `folder` for `task` while the block lasts; yields the manifest of what was finished there before, or None.

    A folder in which another task was begun and nothing was done, since it failed at once, is taken over. Two tasks are
    the same if their meaning is (`meaning`). What an earlier try was writing when it was killed goes.

    Args:
        folder: made where it is missing.
        task: what is asked, in plain types.
        packages: whose versions the manifest tells.
        another: what errors call a folder of another task.
        nothing: what errors say that a folder of other files holds.
        how: names of settings that say how the work is done, and not what comes out.

    Raises:
        BadInput: the folder holds another task, other files, or a damaged manifest; another process holds it; or what
            was finished was changed since.
    """
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file, and a folder is wanted: choose another with -o")
    folder.mkdir(parents=True, exist_ok=True)
    with holding(folder, BUSY):
        sweep(folder)
        done = _done(folder, plain(task), another, nothing, how)
        if done is None:
            write_manifest(folder, task, packages, finished=False)
        yield done


def sharing(
    folder: Path, task: Mapping[str, Any], packages: Sequence[str], chunks: Mapping[str, Any], how: Collection[str] = ()
) -> dict[str, Any] | None:
    """As `taking`, for a folder in which several processes may work at once, each at chunks of its own: none holds it.

    Args:
        folder: made where it is missing.
        task: what is asked, in plain types.
        packages: whose versions the manifest tells.
        chunks: what the manifest tells of how the work is cut.
        how: as for `taking`.

    Returns:
        The manifest if all is done and joined, or None.

    Raises:
        BadInput: as `taking`, or the work was begun there otherwise: in one piece, or cut into other chunks.
    """
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file, and a folder is wanted: choose another with -o")
    folder.mkdir(parents=True, exist_ok=True)
    done = _done(folder, plain(task), "another run", "no run", how, in_chunks=True)
    if done is not None:
        return done
    manifest = folder / "manifest.json"
    told = {"task": task, "made_with": versions(packages), "finished": False, "chunks": chunks}
    if write_new(manifest, as_json(told)):
        return None
    before = read_manifest(folder)
    if _idle(folder, {path.name for path in folder.iterdir() if not is_partial(path)}):
        if (before["task"], before.get("chunks")) != (plain(task), chunks):
            write_json(manifest, told)
    elif before.get("chunks") != chunks:
        raise BadInput(
            f"{folder} is cut into chunks of {before['chunks'].get('size')}, and chunks of {chunks['size']} are wanted "
            "now: leave --chunk-size as it was, or choose another folder with -o"
        )
    return None


def outputs(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of those of these files that are there, by which the manifest knows them."""
    return {name: _sha256(folder / name) for name in names if (folder / name).is_file()}


def meaning(task: Mapping[str, Any], how: Collection[str] = ()) -> dict[str, Any]:
    """What of a task says what comes out: content in place of names and paths, without settings of how it is done.

    Args:
        task: as manifests hold it.
        how: names of settings of the part that are left out.
    """
    means = {name: value for name, value in task.items() if name != "spec" or "part" not in task}
    means["part"] = _without(current(task.get("part")), how)
    data = task.get("data")
    if isinstance(data, dict) and "content" in data:
        means["data"] = data["content"]
    if isinstance(given := task.get("input"), dict) and "sha256" in given:
        means["input"] = given["sha256"]
    if isinstance(several := task.get("inputs"), list):
        means["inputs"] = [one.get("sha256") if isinstance(one, dict) else one for one in several]
    if isinstance(rewrites := task.get("rewrites"), dict):
        means["rewrites"] = sorted(map(str, rewrites.values()))
    return means


def _done(
    folder: Path, task: dict[str, Any], another: str, nothing: str, how: Collection[str], in_chunks: bool = False
) -> dict[str, Any] | None:
    """The manifest, if all is done and as it was left."""
    before = read_manifest(folder)
    names = {path.name for path in folder.iterdir() if not is_partial(path)}
    if not before:
        if names and not (names & PAID and names <= PAID | MADE):
            raise BadInput(f"the folder {folder} is not empty and holds {nothing}: choose another with -o")
        return None
    finished = before.get("finished") is True
    if not finished and _idle(folder, names):
        return None
    _refuse_another(folder, before.get("task", {}), task, another, how)
    made = before.get("outputs")
    made = made if isinstance(made, dict) else {}
    if in_chunks != ("chunks" in before) and not (finished and made.keys() <= names):
        begun = "in one piece: go on without --on and --chunk" if in_chunks else "in chunks: go on with --on or --chunk"
        raise BadInput(f"the work in {folder} was begun {begun}, as before")
    if not finished:
        return None
    if changed := next((one for one in made if one in names and _sha256(folder / one) != made[one]), None):
        raise BadInput(
            f"{folder / changed} was changed after it was written: put it back; or remove it, and the same command "
            "makes it again"
        )
    return before if made.keys() <= names else None


def _idle(folder: Path, names: Collection[str]) -> bool:
    """Whether nothing was done there: besides the manifest there is at most a trace in which no call is answered."""
    if {*names} - {"manifest.json", "trace.jsonl"}:
        return False
    trace = folder / "trace.jsonl"
    return not trace.exists() or b'"status": "ok"' not in trace.read_bytes()


def _refuse_another(
    folder: Path, before: dict[str, Any], task: dict[str, Any], another: str, how: Collection[str]
) -> None:
    there, here = meaning(before, how), meaning(task, how)
    if _known(task) and not _known(before):
        warn(f"{folder} was made by an older version, which did not note the content of its data: it is taken as it is")
        there, here = ({**means, "data": _counts(one)} for means, one in ((there, before), (here, task)))
        there["models"] = here.get("models")
    if not (differ := [key for key in {*there, *here} if there.get(key) != here.get(key)]):
        return
    key = min(differ, key=lambda key: (key != "part", key == "data", key))  # which data are used depends on the rest
    if key == "data" and _known(before):
        told = _moved(before["data"], task["data"])
    else:
        key = "spec" if key == "part" and before.get("spec") != task.get("spec") else key
        told = f"{key}: {before.get(key)} there, {task.get(key)} here"
    kept = " (its trace.jsonl may be copied there: no answered call is paid again)" if _paid(folder) else ""
    raise BadInput(f"the folder {folder} holds {another} ({told}): choose another folder with -o{kept}")


def _moved(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """In what the content of two data sets differs."""
    there, here = before["content"], now["content"]
    parts = [part for part in ("queries", "documents") if there.get(part) != here.get(part)]
    counts = ", ".join(f"{before.get(part)} {part} there, {now.get(part)} here" for part in parts)
    same = "were changed since" if before.get("name") == now.get("name") else "are others"
    return f"the {' and '.join(parts)} of {now.get('name')!r} {same}: {counts}"


def _known(task: Mapping[str, Any]) -> bool:
    data = task.get("data")
    return isinstance(data, dict) and isinstance(data.get("content"), dict)


def _counts(task: Mapping[str, Any]) -> dict[str, Any]:
    data = task.get("data")
    return {name: value for name, value in data.items() if name != "content"} if isinstance(data, dict) else {}


def _paid(folder: Path) -> bool:
    return (folder / "trace.jsonl").is_file() and not _idle(folder, {"trace.jsonl"})


def _without(value: object, names: Collection[str]) -> object:
    if isinstance(value, dict):
        return {name: _without(inner, names) for name, inner in value.items() if name not in names}
    return [_without(inner, names) for inner in value] if isinstance(value, list) else value


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
