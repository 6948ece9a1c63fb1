"""GRPO on real TRL, with models made on the spot."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import toy_task
from toy_task import SHAPE, same

from whyrank.errors import TrainingStopped
from whyrank.io import write_tasks
from whyrank.retrieval.lexical.bm25 import BM25
from whyrank.train import grpo, sft
from whyrank.train.config import GRPO, SFT, HeldOut, LessonSource, Loop, Model, Optimizer, Rewarded, Stage
from whyrank.train.monitor import Monitor, metrics
from whyrank.train.rewards.base import Each
from whyrank.types import Document, Query, RankTask

pytestmark = pytest.mark.engines
PAID = Rewarded("ndcg(format=toy_format.Short())")


@dataclass(frozen=True)
class Constant(Each):
    """Worth nothing more or less."""

    def _value(self, completion, task):
        return 1.0


@dataclass(frozen=True)
class Broken(Each):
    """Raises."""

    def _value(self, completion, task):
        raise ZeroDivisionError("out of coffee")


@pytest.fixture(scope="module")
def half_taught(tmp_path_factory, words) -> Path:
    """A model that keeps to the form most of the time, and knows little."""
    folder = tmp_path_factory.mktemp("taught")
    train, _ = toy_task.write(folder, 300, 1)
    done = sft.train(
        SFT(
            str(folder / "run"),
            Model(tokenizer=words, config=SHAPE),
            (Stage((LessonSource(train, toy_task.FORMAT),), steps=45),),
            optimizer=Optimizer("muon", lr=6e-3),
            loop=Loop(batch=32, threads=1, checkpoint_every=0, report_to=()),
        )
    )
    return done.model


@pytest.fixture
def ask(tmp_path, half_taught):
    """Makes configurations: `ask("name", steps=2, generations=4)`."""
    train, test = toy_task.write(tmp_path, 100, 12)

    def make(name: str = "run", **more) -> GRPO:
        given = {
            "tasks": (train,),
            "steps": 3,
            "rewards": (PAID,),
            "format": toy_task.FORMAT,
            "max_completion": 20,
        }
        loop = {"batch": 16, "threads": 1, "checkpoint_every": 0, "log_every": 1, "report_to": ()}
        loop |= more.pop("loop", {})
        rate = more.pop("lr", 1e-3)
        return GRPO(
            str(tmp_path / name), Model(str(half_taught)),
            **{**given, **more}, optimizer=Optimizer(lr=rate, schedule="constant", warmup=0.0), loop=Loop(**loop),
            held_out=HeldOut(test, toy_task.FORMAT, every=100, max_tokens=20),
        )  # fmt: skip

    return make


def test_rewards_rise(ask):
    done = grpo.train(ask("rise", steps=16, rewards=(PAID, Rewarded("well_formed(format=toy_format.Short())", 0.5)),
                          loop={"batch": 64, "report_to": ("tensorboard",)}))  # fmt: skip
    lines = [line for line in metrics(done.folder) if "reward" in line]
    rewards = [line["reward"] for line in lines]
    assert sum(rewards[-4:]) / 4 > sum(rewards[:4]) / 4 + 0.05
    assert {"well_formed", "thought_tokens", "position_bias", "dropped_groups", "rewards/ndcg/mean"} <= lines[-1].keys()
    assert all(value is not None for line in lines for value in line.values())
    places = [line["rank_by_place"] for line in metrics(done.folder) if "rank_by_place" in line]
    assert all(len(one) == 3 and sum(one) == pytest.approx(0, abs=0.01) for one in places)
    assert done.report["groups"] == 16 * 8 and 0 <= done.report["dropped_groups"] <= 16 * 8
    assert "well_formed" in done.report["held_out"] and (done.folder / "curves.png").exists()


def test_a_resumed_run_is_an_unbroken_one(ask, monkeypatch):
    unbroken = grpo.train(ask("unbroken", steps=4, lr=1e-5, loop={"checkpoint_every": 2}))
    step = Monitor.on_step_end

    def break_off(self, args, state, control, **more):
        step(self, args, state, control, **more)
        if state.global_step == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Monitor, "on_step_end", break_off)
        grpo.train(ask("broken", steps=4, lr=1e-5, loop={"checkpoint_every": 2}))
    resumed = grpo.train(ask("broken", steps=4, lr=1e-5, loop={"checkpoint_every": 2}))
    seen = [[{name: value for name, value in line.items() if name != "step_time"} for line in metrics(done.folder)]
            for done in (unbroken, resumed)]  # fmt: skip
    assert seen[0] == seen[1]
    assert [line["step"] for line in seen[0] if "rank_by_place" in line] == [1, 2, 3, 4]
    assert resumed.report["dropped_groups"] == unbroken.report["dropped_groups"]
    assert same(resumed.model, unbroken.model)


@pytest.mark.parametrize("iterations", [1, 2])
def test_a_run_broken_off_at_its_end_takes_no_further_step(ask, monkeypatch, iterations):
    config = ask("ended", steps=4, iterations=iterations, lr=1e-5, loop={"checkpoint_every": 2})
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(grpo, "save_model", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        grpo.train(config)
    folder = Path(config.output)
    seen = metrics(folder)
    tally = json.loads((folder / "checkpoints" / "checkpoint-4" / "tally.json").read_text())
    done = grpo.train(config)
    assert metrics(folder) == seen and [line["step"] for line in seen if "loss" in line] == [1, 2, 3, 4]
    assert [line["step"] for line in seen if "rank_by_place" in line] == list(range(1, 5, iterations))
    assert done.report["groups"] == 4 // iterations * 2 and done.report["seconds"] >= tally["seconds"]
    assert done.report["dropped_groups"] == tally.get("dropped_groups", 0)
    assert same(done.model, folder / "checkpoints" / "checkpoint-4")


def test_two_formats_are_paid_each_by_its_own_reward(ask):
    short, blunt = "toy_format.Short()", "toy_format.Blunt()"
    paid = (PAID, Rewarded(f"ndcg(format={blunt})"), Rewarded("cost(price=0.1, unit='tokens')"))
    done = grpo.train(ask("two", format=(short, blunt), rewards=paid, steps=2))
    lines = [line for line in metrics(done.folder) if "reward" in line]
    assert {f"rewards/{reward.spec}/mean" for reward in paid[:2]} | {"rewards/cost/mean"} <= lines[-1].keys()
    assert {f"{format}/well_formed" for format in (short, blunt)} <= lines[-1].keys()
    for line in lines:  # the mean of both kinds of prompts, of which each has a reward of order, and its cost
        worth = sum(line[f"rewards/{reward.spec}/mean"] for reward in paid[:2]) / 2 + line["rewards/cost/mean"]
        assert line["reward"] == pytest.approx(worth, abs=1e-5)


def test_groups_without_spread_teach_nothing(ask, half_taught):
    with pytest.warns(UserWarning, match="nothing was learnt: all 4 groups were dropped"):
        done = grpo.train(ask("even", rewards=(Rewarded("tests.train.test_grpo.Constant()"),), steps=2))
    assert done.report["dropped_groups"] == done.report["groups"] == 4
    assert same(done.model, half_taught)


def test_a_reward_that_raises_stops_the_training(ask):
    said = r"reward tests.train.test_grpo.Broken failed at step 1: ZeroDivisionError: out of"
    with pytest.raises(TrainingStopped, match=said):
        grpo.train(ask("broken", rewards=(Rewarded("tests.train.test_grpo.Broken()"),)))
    assert not (Path(ask("broken").output) / "model").exists()


def test_a_rewriter_with_bm25_in_the_loop(ask, tmp_path, words):
    remedies = [Document(f"d{at}", text) for at, text in enumerate(toy_task.HELPS)]
    BM25().at(tmp_path / "index").index(remedies)
    tasks = [RankTask(Query(f"q{at}", need), (remedies[at],), {remedies[at].id: 1.0})
             for at, need in enumerate(toy_task.NEEDS)]  # fmt: skip
    write_tasks(tasks, tmp_path / "queries.jsonl")
    queries, engine = str(tmp_path / "queries.jsonl"), f"bm25(path={str(tmp_path / 'index')!r})"
    search = f"rewritten({engine}, reasoned_query(fake(), template='{{query}}'))"
    told = tmp_path / "told.jsonl"
    lines = [
        {"prompt": need, "completion": said}
        for at, need in enumerate(toy_task.NEEDS)
        for said in (toy_task.HELPS[at], "dust")
    ]
    told.write_text("".join(json.dumps(line) + "\n" for line in lines))
    from_random = SFT(
        str(tmp_path / "rewriter"), Model(tokenizer=words, config=SHAPE),
        (Stage((LessonSource(str(told)),), steps=60),),
        optimizer=Optimizer("muon", lr=6e-3), loop=Loop(batch=40, threads=1, checkpoint_every=0, report_to=()),
    )  # fmt: skip
    start = Model(str(sft.train(from_random).model))
    reward = Rewarded(f"measure_gain({engine}, measure='RR@10')")
    asked = ask("search", format="", search=search, tasks=(queries,), rewards=(reward,), steps=20, loop={"batch": 40})
    measured = HeldOut(queries, every=20, measure="RR@10", max_tokens=8)
    done = grpo.train(replace(asked, model=start, held_out=measured, max_completion=8))
    seen = [line["held_out/RR@10"] for line in metrics(done.folder) if "held_out/RR@10" in line]
    assert seen[0] < 0.6 and seen[-1] > 0.85
