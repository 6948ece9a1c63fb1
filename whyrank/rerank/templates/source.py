"""Where a template is published: a file, the data of an installed package, or a repository on the hub."""

import hashlib
import json
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, distribution
from importlib.metadata import packages_distributions as _packages
from pathlib import Path

from whyrank.errors import BadInput, NotFound, need
from whyrank.progress import quiet_hub

SUFFIXES = (".yaml", ".yml", ".toml", ".jinja", ".j2", ".json")
"""What a template's file may end in."""

MOST = 2**20
"""Bytes that a template has at most."""

TEMPLATE, SCORE = "chat_template.jinja", "1_LogitScore/config.json"
"""In the files of a model: its template, and the tokens whose logits sentence-transformers reads."""


@dataclass(frozen=True)
class Source:
    """A template as it was found.

    Attributes:
        name: the name of its file.
        text: what it holds.
        sha256: of its bytes.
        version: of the package, or the revision of the repository; empty for a file.
        read: the tokens that a model's own files say are read: one, or yes and no; empty where they say nothing.
    """

    name: str
    text: str
    sha256: str
    version: str = ""
    read: tuple[int, ...] = ()


def found(source: str) -> Source:
    """The template at `FILE`, a model's `FOLDER`, `PACKAGE:NAME` or `hub:REPO@REVISION[:FILE]`.

    A package is looked into without importing it; `NAME` may leave out the ending, and what the author's files all end
    in (`rank_llm:rank_zephyr` is `rank_zephyr_template.yaml`). A hub's revision is a commit, so that the text is the
    same tomorrow; without a network its local cache is asked.

    Raises:
        NotFound: there is no such file, package or repository.
        BadInput: the source names no revision, is no text in UTF-8, or longer than a template can be.
    """
    if source.startswith("hub:"):
        return _of_hub(source)
    package, colon, name = source.partition(":")
    if colon and re.fullmatch(r"[A-Za-z][\w.-]+", package) and not Path(source).exists():
        return _of_package(package, name)
    return _of_file(Path(source))


def _of_file(path: Path, version: str = "") -> Source:
    if path.is_dir():
        return _of_model(path, version)
    if not path.is_file():
        raise NotFound(
            f"no template at {str(path)!r}: give a file, PACKAGE:NAME of an installed package, or hub:REPO@REVISION"
        )
    if path.suffix not in SUFFIXES:
        raise BadInput(f"{path}: a template's file ends in {', '.join(SUFFIXES)}")
    content = path.read_bytes()
    if len(content) > MOST:
        raise BadInput(f"{path}: {len(content):,} bytes are no template: it has {MOST:,} at most")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: no text in UTF-8: {error}") from None
    return Source(path.name, text, hashlib.sha256(content).hexdigest(), version)


def _of_model(folder: Path, version: str) -> Source:
    """The score template of a model's folder, with what its own files say is read."""
    if not (folder / TEMPLATE).is_file():
        raise NotFound(f"{folder} holds no {TEMPLATE}: it is no model that is scored by a template of its own")
    found = _of_file(folder / TEMPLATE, version)
    try:
        told = json.loads((folder / SCORE).read_text("utf-8"))
        yes, no = told["true_token_id"], told.get("false_token_id")
    except FileNotFoundError:
        return found
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise BadInput(f"{folder / SCORE}: it does not say which tokens are read: {error}") from None
    return replace(found, read=(yes,) if no is None else (yes, no))


def _of_package(package: str, name: str) -> Source:
    """The one file of a package's that is called so, by what the package lists as installed."""
    names = _packages().get(package, [package])
    try:
        installed = distribution(names[0])
    except PackageNotFoundError:
        raise NotFound(f"no package {package!r} is installed, whose template {name!r} is wanted") from None
    files = [file for file in installed.files or () if file.suffix in SUFFIXES]
    fit = [file for file in files if name in (file.name, file.stem, file.stem.removesuffix("_template"), str(file))]
    if len(fit) != 1:
        known = ", ".join(sorted(str(file) for file in fit or files)[:20]) or "none"
        told = "holds several such templates" if fit else f"holds no template {name!r}"
        raise NotFound(f"the package {package} {installed.version} {told}: {known}")
    return _of_file(Path(str(installed.locate_file(fit[0]))), f"{installed.name} {installed.version}")


def _of_hub(source: str) -> Source:
    match = re.fullmatch(r"hub:([\w.-]+/[\w.-]+)@([0-9a-f]{7,40})(?::([\w./-]+))?", source)
    if match is None:
        raise BadInput(
            f"{source!r}: write hub:OWNER/NAME@COMMIT, with the commit in hexadecimal digits, so that the text is the "
            "same tomorrow; a file of it as hub:OWNER/NAME@COMMIT:FILE"
        )
    repository, revision, file = match.groups()
    hub = need("huggingface_hub", extra="data", asked_by=f"template({source!r})")
    quiet_hub()
    try:
        path = Path(hub.hf_hub_download(repository, file or TEMPLATE, revision=revision))
    except Exception as error:  # of many kinds: no network, no such repository, no such file, no permission
        why = f"{type(error).__name__}: {error}"
        raise NotFound(f"{source!r} cannot be read from the hub or its local cache: {why}"[:500]) from None
    if file is None:
        with suppress(Exception):  # most models have none
            hub.hf_hub_download(repository, SCORE, revision=revision)
        path = path.parent
    return _of_file(path, f"{repository}@{revision}")
