"""A model that writes down on disk what it is asked, and may kill the process that asks; for workers in chunks."""

import os
import random
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from whyrank.llm.answer import Completion
from whyrank.llm.fake import Fake
from whyrank.llm.messages import Prompt


@dataclass(frozen=True)
class Counting(Fake):
    """Answers each prompt by an order that follows from it, after a line in the file `log`.

    Attributes:
        log: the file; its lines are the keys of prompts.
        poison: a prompt that holds this kills its process.
        bad: a prompt that holds this raises.
        mortal: the chance that any prompt kills its process, drawn anew in each process.
    """

    log: str = ""
    poison: str = ""
    bad: str = ""
    mortal: float = 0.0

    async def _generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion]:
        for prompt in prompts:
            asked = prompt.chat[-1]["content"]
            with open(self.log, "ab", buffering=0) as file:
                file.write(f"{prompt.key(self.model)}\n".encode())
            if (self.poison and self.poison in asked) or _draw.random() < self.mortal:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.bad and self.bad in asked:
                raise RuntimeError("this prompt is bad")
        return await super()._generate(prompts)

    async def _one(self, prompt: Prompt) -> Completion:
        draw = random.Random(prompt.key("")).sample(range(1, 6), 5)
        return await Fake(" > ".join(f"[{at}]" for at in draw), latency=self.latency)._one(prompt)


_draw = random.Random(os.urandom(8))


def asked(log: Path) -> Counter[str]:
    """How often each prompt was asked."""
    return Counter(log.read_text().split()) if log.exists() else Counter()
