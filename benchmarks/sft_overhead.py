"""How much more a step of SFT costs than the same step written out: same model, examples, order, optimizer.

python benchmarks/sft_overhead.py [--steps 30]; CPU seconds of one thread, so that other work does not count.
"""

import argparse
import json
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from whyrank.train import sft
from whyrank.train.config import SFT, LessonSource, Loop, Model, Optimizer, Stage
from whyrank.train.data import Material, plan
from whyrank.train.models import load_model
from whyrank.train.optim import optimizer
from whyrank.train.tokenizer import tokenizer

WORDS = "why do bees dance when they come home to the hive and tell the others where flowers are".split()
SHAPE = {
    "model_type": "qwen3", "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "vocab_size": 1504,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "tie_word_embeddings": True,
}  # fmt: skip


def main() -> None:
    """Time a plain loop, SFT, and SFT with TRL's own loss."""
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--steps", type=int, default=30)
    steps = given.parse_args().steps
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp())
    lot = random.Random(0)
    with (folder / "told.jsonl").open("w") as file:
        for _ in range(2000):
            prompt, completion = (" ".join(lot.choices(WORDS, k=lot.randint(*size))) for size in ((80, 160), (30, 90)))
            file.write(json.dumps({"prompt": prompt, "completion": completion}) + "\n")
    tokenizer([" ".join(WORDS)], [], 400).save_pretrained(folder / "words")
    config = SFT(
        str(folder / "ours"),
        Model(tokenizer=str(folder / "words"), config=SHAPE),
        (Stage((LessonSource(str(folder / "told.jsonl")),), steps=steps),),
        optimizer=Optimizer("muon", lr=3e-3),
        loop=Loop(batch=30, threads=1, checkpoint_every=0, report_to=()),
    )
    written_out = plain(config, steps)
    ours = timed(config, folder / "ours")
    kept = sft.CompletionOnly.compute_loss
    sft.CompletionOnly.compute_loss = lambda self, *a, **k: super(sft.CompletionOnly, self).compute_loss(*a, **k)  # type: ignore[method-assign]
    theirs = timed(config, folder / "theirs")
    sft.CompletionOnly.compute_loss = kept  # type: ignore[method-assign]
    print(f"written out {written_out:.1f} s, SFT {ours / written_out:.2f}, with TRL's loss {theirs / written_out:.2f}")


def timed(config: SFT, folder: Path) -> float:
    """CPU seconds of the steps alone: twice as many steps, less as many."""

    def spent(steps: int) -> float:
        start = time.process_time()
        stage = replace(config.stages[0], steps=steps)
        sft.train(replace(config, output=f"{folder}-{steps}", stages=(stage,)))
        return time.process_time() - start

    steps = config.stages[0].steps
    few = spent(1)
    return spent(steps + 1) - few


def plain(config: SFT, steps: int) -> float:
    """CPU seconds of the same steps in a loop without any library around it."""
    model, chat = load_model(config.model, 0)
    material = Material.read(config.stages[0].sources, chat, 1024)
    size = config.loop.batch
    order = plan(material, config.stages, size, 0)
    moves, collate = optimizer(model, config.optimizer, []), sft.Collator(chat.tokenizer.pad_token_id)
    start = time.process_time()
    for step in range(steps):
        some = [material.lessons[at] for at in order[step * size : (step + 1) * size]]
        batch = collate([{"input_ids": one.ids, "asked": one.asked} for one in some])
        labels = batch["labels"]
        keep = labels.shape[1] - int((labels != -100).any(0).nonzero()[0]) + 1
        logits = model(input_ids=batch["input_ids"], logits_to_keep=keep, use_cache=False).logits[:, :-1]
        scored = labels[:, 1 - keep :] != -100
        torch.nn.functional.cross_entropy(logits[scored], labels[:, 1 - keep :][scored]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        moves.step()
        moves.zero_grad()
    return time.process_time() - start


if __name__ == "__main__":
    main()
