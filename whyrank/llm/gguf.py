"""Models in GGUF, the form of llama.cpp: unpacked once into the user's cache, as folders that all engines here read."""

import hashlib
import os
import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from copy import deepcopy
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import Any

from whyrank.cache import cached
from whyrank.errors import EngineError, need, require
from whyrank.journal import holding
from whyrank.progress import no_bars

_MAGIC = b"GGUF"

_UNREADABLE = (
    OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, AssertionError,
    MemoryError, struct.error,
)  # fmt: skip
"""What the reader of GGUF raises for a file that is damaged, or of an architecture that transformers has not."""


def unpacked(*parts: Path) -> Path:
    """The folder with the model of a GGUF file: its weights as float32, its tokenizer, its chat template.

    It is made once, whole or not at all, by one process while others wait, in `whyrank/models` in the user's cache,
    and named after the file and its content. The values are those that the file stands for, whatever their
    quantisation; they take four bytes each.

    Args:
        parts: the file; or several, which are one file cut in pieces.

    Raises:
        EngineError: there is no such file, it is no GGUF, or transformers cannot read it.
        MissingExtra: the package gguf, or transformers, is not installed.
    """
    target = cached("models", name(*parts))
    if not target.is_dir():
        require("gguf", "transformers", "torch", extra="gguf", asked_by=str(parts[0]))
        target.parent.mkdir(parents=True, exist_ok=True)
        with holding(target.parent, wait=True):
            if not target.is_dir():
                _unpack(parts, target)
    return target


def name(*parts: Path) -> str:
    """What the model of a GGUF file is known by: the file's name, and the begin of its SHA-256.

    Raises:
        EngineError: there is no such file, or it is no GGUF.
    """
    try:
        files = tuple((str(path), (told := path.stat()).st_size, told.st_mtime_ns) for path in parts)
        return f"{parts[0].name.partition('.gguf')[0]}-{_content(files)[:16]}"
    except OSError as error:
        raise EngineError(f"{parts[0]}: the model cannot be read: {error.strerror or error}") from None


@lru_cache(maxsize=64)
def _content(files: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, _, _ in files:
        with open(path, "rb") as file:
            if path == files[0][0] and (head := file.read(4)) != _MAGIC:
                raise EngineError(f"{path} is no GGUF file: it begins with {head!r}")
            file.seek(0)
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _unpack(parts: Sequence[Path], target: Path) -> None:
    """Write the folder `target`, whole or not at all."""
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        with _joined(parts, partial) as file:
            _convert(file, partial)
        os.replace(partial, target)
    except _UNREADABLE as error:
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise EngineError(f"{parts[0]}: the model cannot be read: {why}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _joined(parts: Sequence[Path], folder: Path) -> Iterator[Path]:
    """One file out of its pieces, as long as the block lasts."""
    if len(parts) == 1:
        yield parts[0]
        return
    whole = folder / "model.gguf"
    with whole.open("wb") as file:
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, file)
    yield whole
    whole.unlink()


def _convert(file: Path, folder: Path) -> None:
    transformers, torch = (need(one, extra="gguf", asked_by=str(file)) for one in ("transformers", "torch"))
    where: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    told, loud = transformers.utils.logging, transformers.utils.logging.get_verbosity()
    told.set_verbosity_error()  # that weights are unpacked is no news
    try:
        with no_bars(told), redirect_stderr(StringIO()):  # where one bar is shown that nothing switches off
            tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, **where)
            packed, told_of = transformers.AutoModelForCausalLM.from_pretrained(
                file.parent, dtype=torch.float32, output_loading_info=True, **where
            )
            if lacks := sorted(told_of["missing_keys"]):  # which transformers fills with random values
                raise ValueError(f"it lacks {len(lacks)} of the model's tensors, such as {lacks[0]}")
            plain = _plain(torch, packed)
            plain.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    finally:
        told.set_verbosity(loud)


def _plain(torch: Any, packed: Any) -> Any:  # noqa: ANN401 (an optional package)
    """The same model without what transformers notes of a quantisation, since it refuses to write such a model."""
    config = deepcopy(packed.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        plain = type(packed)(config)
    plain.load_state_dict(packed.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = packed.generation_config
    return plain
