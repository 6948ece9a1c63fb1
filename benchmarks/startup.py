"""How long `whyrank --help` takes beside `python -c "import typer"`: best of 20, alternating, in one run."""

import subprocess
import sys
import time
from pathlib import Path

TIMES = 20


def seconds(command: list[str]) -> float:
    """Wall time of one run of `command`."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Print both times and their ratio."""
    whyrank = [str(Path(sys.executable).with_name("whyrank")), "--help"]
    typer = [sys.executable, "-c", "import typer"]
    plain = [sys.executable, "-c", "import whyrank"]
    pairs = [(seconds(whyrank), seconds(typer), seconds(plain)) for _ in range(TIMES)]
    ours, theirs, imported = (min(column) for column in zip(*pairs, strict=True))
    print(f"whyrank --help {ours:.3f} s, import typer {theirs:.3f} s: ratio {ours / theirs:.2f}")
    print(f"import whyrank {imported:.3f} s")


if __name__ == "__main__":
    main()
