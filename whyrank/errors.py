"""The errors of whyrank, and `need` and `require`, the doors to optional packages.

    WhyrankError
    ├── BadInput (ValueError)        what the user handed in cannot be used: what, where, how to mend it
    │   ├── BadSpec                  a part cannot be built: unknown name or argument, a value out of type or bounds
    │   └── Untrusted                a file names code to run: only a user may, or somebody who trusts its folder
    ├── BadIndex (ValueError)        a saved index is damaged, of another version or of another kind
    ├── NotFound (FileNotFoundError) a data set, run or folder is not there: where it was looked for
    ├── MissingExtra (ImportError)   an optional package is not installed: the command that installs it
    ├── EngineError (RuntimeError)   a model or its server cannot be used at all (authentication, unknown model)
    ├── BudgetSpent (RuntimeError)   a limit on cost or tokens was reached; finished work is kept
    ├── ChunksFailed (RuntimeError)  of work that is done in chunks some failed; the others are done, and kept
    └── TrainingStopped (RuntimeError) training cannot go on: a reward raised, the disk is full; checkpoints stay whole

Each also inherits the standard error a caller would expect. The failure of a *single* model call is no
exception but a value, `whyrank.llm.answer.Failed`.
"""

import difflib
import importlib
import importlib.util
import operator
from pathlib import Path
from types import ModuleType
from typing import SupportsIndex

from whyrank.secrets import masked
from whyrank.terminal import plain


class WhyrankError(Exception):
    """The root of all errors that whyrank raises on purpose. No text of theirs holds a key or a password."""

    def __init__(self, *args: object) -> None:
        """Take the text, without secrets."""
        super().__init__(*(masked(arg) if isinstance(arg, str) else arg for arg in args))

    def __str__(self) -> str:
        """What was said; ids and texts that it names steer no terminal."""
        return plain(super().__str__())


class BadInput(WhyrankError, ValueError):
    """What the user handed in cannot be used; the text says what, where and how to mend it."""


class BadSpec(BadInput):
    """A part cannot be built: unknown name, unknown argument, or a value that a field does not take."""

    def __init__(self, *args: object) -> None:
        """Take the text; addresses in a spec are shown without what stands in their queries."""
        super().__init__(*(masked(arg, queries=True) if isinstance(arg, str) else arg for arg in args))


class Untrusted(BadInput):
    """A file names code that would have to be run to use it; the text says how to trust it."""


class BadIndex(WhyrankError, ValueError):
    """A saved index is damaged, of another format version, or of another kind."""


class NotFound(WhyrankError, FileNotFoundError):
    """A data set, run or folder is not there; the text says where it was looked for."""


class MissingExtra(WhyrankError, ImportError):
    """An optional package is not installed; the text carries the command that installs it."""


class EngineError(WhyrankError, RuntimeError):
    """A model or its server cannot be used at all: wrong key, unknown model, no such address."""


class BudgetSpent(WhyrankError, RuntimeError):
    """A limit on cost or tokens was reached. Finished calls are kept: the same command goes on from here."""


class ChunksFailed(WhyrankError, RuntimeError):
    """Chunks of a larger work failed. The others are done: the same command tries only these again."""


class TrainingStopped(WhyrankError, RuntimeError):
    """Training cannot go on: a reward raised, the disk is full. Checkpoints are whole: the same command goes on."""


def need(module: str, *, extra: str, asked_by: str = "") -> ModuleType:
    """Import an optional `module`, or say which extra of whyrank installs it.

    Only the absence of this very module is translated; a broken installation keeps its own traceback.

    Raises:
        MissingExtra: `module` is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in {module, module.partition(".")[0]}:
            raise
        raise _missing(module.partition(".")[0], extra, asked_by) from None


def require(*packages: str, extra: str, asked_by: str) -> None:
    """Say at once which of these optional packages is missing, before anything is loaded or a network is asked.

    None of them is imported.

    Raises:
        MissingExtra: the first of `packages` that is not installed.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise _missing(package, extra, asked_by)


def _missing(package: str, extra: str, asked_by: str) -> MissingExtra:
    return MissingExtra(f"{asked_by or package} needs the package {package}: pip install 'whyrank[{extra}]'")


def want(given: object, kind: type | tuple[type, ...], what: str, mend: str) -> None:
    """Refuse what is not of a kind, at the door and not where it is first used.

    Args:
        given: what was handed in.
        kind: what it must be.
        what: who takes it, and as what: "evaluate: the run".
        mend: what to hand in instead.

    Raises:
        BadInput: `given` is of another kind.
    """
    if not isinstance(given, kind):
        name = "None" if given is None else f"a {type(given).__name__}"
        raise BadInput(f"{what} is {name}: {mend}")


def want_count(given: object, what: str) -> None:
    """Refuse what is no whole number from 1 up.

    Raises:
        BadInput: `given` is none; `what` says which it is: "k".
    """
    if not isinstance(given, SupportsIndex) or operator.index(given) < 1:
        raise BadInput(f"{what} must be at least 1, not {given!r}")


def no_near_miss(model: str, known: str, asked_by: str) -> None:
    """Refuse a model's name that is nearly `known`, which comes along, before the hub is asked for it for a minute.

    Raises:
        EngineError: `known` was probably meant.
    """
    near = difflib.get_close_matches(model.lower(), [known], cutoff=0.75)
    if near and model != known and _bare(model):
        raise EngineError(f"{asked_by}: there is no model or folder {model!r}: did you mean {known!r}?")


def not_loaded(model: str, error: Exception) -> str:
    """Why a model could not be loaded, in one line, with a hint where its name has no owner and no folder has it."""
    if inner := _inside(model):
        return inner
    hint = f"; there is no folder {model!r}, and names on the hub are written owner/model" if _bare(model) else ""
    return " ".join(str(error).split()) + hint


def _inside(model: str) -> str:
    """Where the model of a training's run folder lies; empty for other folders and names."""
    inner = Path(model, "model")
    return (
        f"this is the run folder of a training, its model is {str(inner)!r}"
        if Path(inner, "config.json").is_file()
        else ""
    )


def _bare(model: str) -> bool:
    return "/" not in model and not Path(model).exists()
