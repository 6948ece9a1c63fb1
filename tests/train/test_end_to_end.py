"""From lists of a world to a model that ranks it: SFT, GRPO, export, and the same ranking on two engines."""

import random
import shutil
from dataclasses import replace

import pytest

from whyrank import Listwise, Transformers
from whyrank.data_synth.world import Level, World
from whyrank.data_synth.world_lists import WorldLists
from whyrank.eval.orders import ndcg
from whyrank.io import write_tasks
from whyrank.llm.local import SHIPPED
from whyrank.llm.messages import Sampling
from whyrank.llm.vllm import VLLM
from whyrank.reproduce.tiny import ship
from whyrank.rerank.base import Request
from whyrank.train import grpo, sft
from whyrank.train.config import GRPO, SFT, LessonSource, Loop, Model, Optimizer, Rewarded, Stage

EVEN = Level(hops=(1,), contexts=2, shortest=2, longest=5, balanced=True)
SPARSE = Level(hops=(1,), contexts=2, shortest=4, longest=5, best=1, partial=1)
WORLD = World(contexts=2)
LOOP = Loop(batch=32, threads=1, log_every=25, checkpoint_every=0, report_to=())


def drawn(level, n):
    """`n` lists of training's questions."""
    lists, draw = WorldLists(WORLD, level), random.Random(0)
    questions = [*WORLD.questions("train", level.hops)]
    return [lists.task(draw.choice(questions), draw, f"q{at}") for at in range(n)]


def measured(llm, tasks):
    """The orders of a listwise reranker that thinks, their mean nDCG@10, and the share of well-formed answers."""
    reranker = Listwise(llm, sampling=Sampling(max_tokens=120))
    orders = reranker.rank_requests(
        [Request(task.query, task.documents, (0.0,) * len(task.documents)) for task in tasks]
    )
    told = [ndcg([task.gains[at] for at in order.ranking], 10) for task, order in zip(tasks, orders, strict=True)]
    exact = sum(call.status == "exact" for order in orders for call in order.calls)
    return [order.ranking for order in orders], sum(told) / len(told), exact / len(tasks)


def damaged(folder):
    """The small model with so much noise on its weights that it writes no answer; all facts are learnt anew from it."""
    import torch
    from transformers import AutoModelForCausalLM

    shutil.copytree(SHIPPED["tiny"], folder)
    model, noise = AutoModelForCausalLM.from_pretrained(folder, dtype="float32"), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim == 2:
                weights += 0.5 * weights.std() * torch.randn(weights.shape, generator=noise)
    model.save_pretrained(folder)
    return folder


@pytest.mark.engines
def test_a_damaged_model_learns_its_world_again_and_two_engines_rank_it_alike(tmp_path, vllm_installed):
    """SFT, then GRPO on harder lists; measured on situations that training never saw."""
    even, sparse = tmp_path / "even.jsonl", tmp_path / "sparse.jsonl"
    write_tasks(drawn(EVEN, 32 * 24), even)
    write_tasks(drawn(SPARSE, 200), sparse)
    unseen = WorldLists(WORLD, SPARSE).draw("unseen", 40)
    start = damaged(tmp_path / "start")
    _, without, kept_without = measured(Transformers(str(start), batch=40), unseen)
    assert without < 0.75 and kept_without < 0.2

    taught = sft.train(
        SFT(
            str(tmp_path / "sft"),
            Model(str(start)),
            (Stage((LessonSource(str(even), "ranking()", keep_irrelevant=True),), steps=24),),
            512,
            Optimizer("muon", lr=3e-3, schedule="wsd", warmup=0.05, decay=0.5, min_lr=0.01, betas=(0.9, 0.98)),
            replace(LOOP, like_length=1),
        )
    )
    rewarded = grpo.train(
        GRPO(
            str(tmp_path / "grpo"),
            Model(str(taught.model)),
            (str(sparse),),
            (Rewarded("ndcg()"),),
            steps=4,
            format="ranking()",
            max_completion=120,
            optimizer=Optimizer(lr=2e-4, schedule="linear", warmup=0.1),
            loop=LOOP,
        )
    )
    model = ship(rewarded.model, tmp_path / "model")
    _, before, kept_before = measured(Transformers(str(taught.model), batch=40), unseen)
    orders, after, kept_after = measured(Transformers(str(model), batch=40), unseen)
    assert 0.85 <= before <= 1.0 and kept_before >= 0.8
    assert 0.85 <= after <= 1.0 and kept_after >= 0.8
    inside, ndcg_inside, _ = measured(VLLM(str(model), concurrency=64), unseen)
    assert sum(one == other for one, other in zip(orders, inside, strict=True)) >= 0.9 * len(unseen)
    assert abs(ndcg_inside - after) < 0.02
