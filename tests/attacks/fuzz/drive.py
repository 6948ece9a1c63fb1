"""What the fuzzers share: seeds that are cut, joined and filled with tokens of trouble, and the hunt itself.

`python -m tests.attacks.fuzz.files --minutes 10` hunts; what is found is written, shrunk, to `seeds/NAME/`, and the
tests read it again from then on.
"""

import argparse
import hashlib
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

SEEDS = Path(__file__).parent / "seeds"
LONGEST = 1 << 14
TROUBLE = (
    b"\x00",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\r",
    b"\n",
    b"\n\n",
    b"\t",
    b" ",
    b'"',
    b"'",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b"(",
    b")",
    b",",
    b":",
    b"null",
    b"true",
    b"NaN",
    b"Infinity",
    b"-1",
    b"0",
    b"1e999",
    b"9" * 40,
    b"0.1",
    b"\\ud800",
    b"\x1b[2J",
    "\u202e".encode(),
    "é".encode(),
    "١".encode(),
    b"[" * 2000,
    b"{" * 2000,
)


@dataclass(frozen=True)
class Target:
    """Something that reads bytes from outside.

    Attributes:
        name: of it and of its folder in `seeds`.
        check: reads the bytes; what it raises is a finding.
        seeds: good inputs, which are mutated.
        tokens: what else may stand anywhere.
    """

    name: str
    check: Callable[[bytes], None] = field(repr=False)
    seeds: Sequence[bytes] = field(repr=False)
    tokens: Sequence[bytes] = field(default=(), repr=False)

    @property
    def kept(self) -> list[Path]:
        """The inputs that found something once."""
        return sorted((SEEDS / self.name).glob("*"))

    def inputs(self) -> st.SearchStrategy[bytes]:
        """Good inputs with some places changed; now and then anything."""
        tokens, parts = (*TROUBLE, *self.tokens), tuple(self.seeds)
        put = st.one_of(st.sampled_from(tokens), st.binary(max_size=6))
        edit = st.tuples(st.integers(0, 1 << 16), st.integers(0, 40), put)
        changed = st.tuples(st.sampled_from(parts), st.lists(edit, max_size=6)).map(lambda both: mutated(*both))
        joined = st.lists(st.sampled_from((*parts, *tokens)), max_size=12).map(b"".join)
        return st.one_of(changed, changed, joined, st.binary(max_size=200)).map(lambda found: found[:LONGEST])

    def hunt(self, examples: int, seed: int) -> "Finding | None":
        """Try so many inputs; what fails is shrunk."""
        last: list[tuple[bytes, BaseException]] = []

        @seeded(seed)
        @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(self.inputs())
        def attack(data: bytes) -> None:
            try:
                self.check(data)
            except Exception as error:
                last.append((data, error))
                raise

        try:
            attack()
        except Exception:
            if not last:
                raise
            return Finding(self, *last[-1])
        return None


@dataclass(frozen=True)
class Finding:
    """An input and what it raised."""

    target: Target
    data: bytes
    error: BaseException

    @property
    def place(self) -> str:
        """Kind and place of the error: findings of one place are one."""
        frames = [one for one in traceback.extract_tb(self.error.__traceback__) if "/whyrank/" in one.filename]
        at = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
        return f"{self.target.name}: {type(self.error).__name__} at {at}"

    def keep(self) -> Path:
        """Write the input among the seeds."""
        file = SEEDS / self.target.name / hashlib.sha256(self.data).hexdigest()[:12]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self.data)
        return file


def mutated(seed: bytes, edits: Sequence[tuple[int, int, bytes]]) -> bytes:
    """A seed in which, at each place, so many bytes are replaced by others."""
    for place, removed, put in edits:
        at = place % (len(seed) + 1)
        seed = seed[:at] + put + seed[at + removed :]
    return seed


def main(targets: Sequence[Target]) -> None:
    """Hunt in turn until the time is over; exit with 1 where something was found."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--minutes", type=float, default=10.0)
    asked.add_argument("--only", default="", help="targets whose names hold this")
    asked.add_argument("--engine", choices=("hypothesis", "atheris"), default="hypothesis")
    asked.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    told = asked.parse_args()
    chosen = [target for target in targets if told.only in target.name]
    if told.engine == "atheris":
        _atheris(chosen[0], told.minutes)
    places: set[str] = set()
    for finding in _hunts(chosen, told.minutes, told.seed):
        if finding.place not in places:
            places.add(finding.place)
            kept = finding.keep()
            sys.stdout.write(f"{finding.place}: {finding.error!r:.200}\n  {finding.data!r:.300}\n  kept as {kept}\n")
    sys.stdout.write(f"seed {told.seed}: {len(places)} findings\n")
    sys.exit(bool(places))


def _hunts(targets: Sequence[Target], minutes: float, seed: int) -> Iterator[Finding]:
    end, turn = time.monotonic() + 60 * minutes, 0
    while time.monotonic() < end:
        finding = targets[turn % len(targets)].hunt(150, seed + turn)
        turn += 1
        if finding is not None:
            yield finding


def _atheris(target: Target, minutes: float) -> None:
    """Let atheris, which follows the code's branches, hunt one target: `pip install atheris`."""
    import atheris

    kept, corpus = SEEDS / target.name, Path(tempfile.mkdtemp())
    kept.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / str(number)).write_bytes(seed)
    atheris.instrument_all()
    limits = (f"-max_total_time={int(60 * minutes)}", f"-max_len={LONGEST}", f"-artifact_prefix={kept}/")
    atheris.Setup([sys.argv[0], *limits, str(corpus), str(kept)], target.check)
    atheris.Fuzz()
