"""The score of single tokens, learnt over lists: prompts of inference, what they share read once, the head cut."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toy_task
from toy_task import same, weights
from typer.testing import CliRunner

from whyrank.errors import BadInput, EngineError, NotFound
from whyrank.llm.transformers import Transformers
from whyrank.registry import make
from whyrank.rerank.strategies.scored import Scored
from whyrank.train import score
from whyrank.train.config import Loop, Lora, Model, Optimizer, read_config
from whyrank.train.lists import RankedLists
from whyrank.train.models import load_model
from whyrank.train.monitor import Monitor, metrics

engines = pytest.mark.engines
FORMAT = "weighed(toy_format.Helps('no'), difference('[1]', '[2]'))"
ONE = "weighed(toy_format.Helps('no'), logit('[1]'))"


@pytest.fixture
def config(tmp_path: Path, words: str) -> Any:
    train, test = toy_task.write(tmp_path, 64, 20)

    def made(name: str = "run", model: dict[str, Any] | None = None, **given: Any) -> score.Score:
        loop = {"batch": 8, "threads": 1, "log_every": 1, "checkpoint_every": 0, "report_to": ()}
        loop |= {key: given.pop(key) for key in list(given) if key in Loop.__dataclass_fields__}
        told = {"size": 3, "held_out": RankedLists(tasks=test), "every": 1000, "format": FORMAT} | given
        start = Model(tokenizer=words, config=toy_task.SHAPE)
        return score.Score(
            str(tmp_path / name), (RankedLists(tasks=train),), replace(start, **(model or {})),
            optimizer=Optimizer(lr=3e-3), loop=Loop(**loop), **told,
        )  # fmt: skip

    return made


@engines
@pytest.mark.parametrize(("loss", "format"), [("listmle", FORMAT), ("ranknet", ONE)])
def test_it_learns_ten_rules_and_scored_reads_what_was_learnt(config: Any, loss: Any, format: str) -> None:
    asked = config(loss=loss, format=format, epochs=10)
    done = score.train(asked)
    seen = [line["held_out/nDCG@10"] for line in metrics(done.folder) if "held_out/nDCG@10" in line]
    assert len(seen) == 2 and seen[0] < 0.85 and seen[-1] > 0.9
    reranker = Scored(Transformers(str(done.model)), format=make(format))
    tasks = toy_task.tasks(20, 2)
    orders = [[one.id for one in reranker.rank(task.query, task.documents)] for task in tasks]
    assert sum(order[0] in task.grades for order, task in zip(orders, tasks, strict=True)) >= 17
    assert score.train(asked).report == done.report


@engines
def test_scores_with_a_shared_beginning_are_those_of_each_prompt_alone(config: Any) -> None:
    import torch

    asked = config()
    model, chat = load_model(asked.model, 0)
    model.eval()
    reader = score.Reader(FORMAT, chat, 512, model)
    texts = ["oil", "oil and tar in the sun", "felt", "", "straw " * 9]
    llm = Scored(Transformers("x"), format=make(FORMAT))
    rows = [reader._ids("rust", text) for text in texts]
    with torch.inference_mode():
        logits = [model(input_ids=torch.tensor([row])).logits[0, -1] for row in rows]
        wanted = [float(one[reader.ids[0]] - one[reader.ids[1]]) for one in logits]
        with score.cut_head(model, reader.ids):
            got = reader(model, "rust", texts)
            alone = [float(reader(model, "rust", [text])[0]) for text in texts]
    assert llm and 0 < score._alike(rows) < min(map(len, rows))
    assert got.tolist() == pytest.approx(wanted, abs=1e-5) and alone == pytest.approx(wanted, abs=1e-5)
    assert reader.score(model, [("rust", text) for text in texts])  # and the head is whole again
    assert model(input_ids=torch.tensor([rows[0]])).logits.shape[-1] == model.config.vocab_size


@engines
def test_gradients_are_those_of_the_whole_prompts(config: Any) -> None:
    import torch

    model, chat = load_model(config().model, 0)
    reader, texts = score.Reader(FORMAT, chat, 512, model), ["oil", "felt and tar", "straw"]
    rows = [reader._ids("rust", text) for text in texts]

    def gradient(scores: Any) -> list[Any]:
        model.zero_grad()
        (scores * torch.tensor([1.0, -2.0, 0.5])).sum().backward()
        return [one.grad.clone() for one in model.parameters()]

    with score.cut_head(model, reader.ids):
        mine = gradient(reader(model, "rust", texts))
    whole = [model(input_ids=torch.tensor([row])).logits[0, -1] for row in rows]
    its = gradient(torch.stack([one[reader.ids[0]] - one[reader.ids[1]] for one in whole]))
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(mine, its, strict=True))
    assert any(one.abs().max() > 1e-3 for one in its)


@engines
@pytest.mark.parametrize("model", [{}, {"lora": Lora(r=4, layers=1)}])
def test_a_resumed_run_is_an_unbroken_one(config: Any, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"loss": "plackett_luce", "checkpoint_every": 3, "model": model}
    unbroken = score.train(config("unbroken", **told))
    step = Monitor.on_step_end

    def break_off(self: Monitor, args: Any, state: Any, control: Any, **more: Any) -> None:
        step(self, args, state, control, **more)
        if state.global_step == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Monitor, "on_step_end", break_off)
        score.train(config("broken", **told))
    resumed = score.train(config("broken", **told))
    assert metrics(resumed.folder) == metrics(unbroken.folder)
    assert same(resumed.model, unbroken.model)


@engines
def test_a_step_is_the_same_however_it_is_cut(config: Any) -> None:
    whole, cut = score.train(config("whole")), score.train(config("cut", batch=1, accumulation=8))
    losses = [[line["loss"] for line in metrics(done.folder) if "loss" in line] for done in (whole, cut)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert same(whole.model, cut.model, 2e-4)


@engines
def test_an_adapter_in_the_highest_layers_moves_nothing_else(config: Any) -> None:
    start = score.train(replace(config("start"), optimizer=Optimizer(lr=0.0))).model
    lora = {"path": str(start), "config": {}, "tokenizer": "", "lora": Lora(r=4, layers=1)}
    done = score.train(config("adapted", model=lora))
    before, after = weights(start), weights(done.model)
    moved = {name for name in before if not before[name].equal(after[name])}
    assert before.keys() == after.keys() and moved and all(name.startswith("model.layers.1.") for name in moved)
    assert len(moved) == 7  # every linear layer of it
    one = config("one", model={**lora, "lora": Lora(r=4, layers=1, targets=("q_proj",))})
    after = weights(score.train(one).model)
    assert {name for name in before if not before[name].equal(after[name])} == {
        "model.layers.1.self_attn.q_proj.weight"
    }
    with pytest.raises(BadInput, match="in 3 layers is asked for, and the model has 2"):
        score.train(config("deep", model={**lora, "lora": Lora(layers=3)}))


@engines
def test_the_command_line(config: Any, tmp_path: Path, words: str) -> None:
    from whyrank.cli import app

    asked = config()
    path = tmp_path / "conf.toml"
    shape = ", ".join(f"{name} = {json.dumps(value)}" for name, value in toy_task.SHAPE.items())
    path.write_text(
        f'output = "{asked.output}"\nformat = "{FORMAT}"\nsize = 3\nhold_out = 10\n'
        f'[model]\ntokenizer = "{words}"\nconfig = {{{shape}}}\n'
        f'[[lists]]\ntasks = "{asked.lists[0].tasks}"\n[loop]\nbatch = 8\ncheckpoint_every = 0\nreport_to = []\n'
    )
    said = CliRunner().invoke(app, ["train", "score", str(path), "--json"])
    report = json.loads(said.stdout)
    assert report["sources"] == {asked.lists[0].tasks: {"used": 54, "nothing_to_learn": 0, "held_out": 10}}
    assert report["steps"] == 7 and "nDCG@10" in report["held_out"]
    assert "scored" in (Path(report["model"]) / "README.md").read_text().lower()


@engines
def test_what_cannot_be_learnt_leaves_nothing(config: Any) -> None:
    for wrong, kind, message in (
        (config(format="weighed(toy_format.Helps('no'), softmax('yes', 'no'))"), EngineError, "'yes' is 3 tokens"),
        (replace(config(), lists=(RankedLists(tasks="gone.jsonl"),)), NotFound, r"gone\.jsonl"),
        (config(model={"path": "no/where", "config": {}}), EngineError, "cannot be loaded"),
        (config(held_out=None, hold_out=64), BadInput, "nothing is left to learn from"),
    ):
        with pytest.raises(kind, match=message):
            score.train(wrong)
    assert not Path(config().output).exists()


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('format = "direct()"', "no score of one token or two is read: take yes_no"),
        ('format = "yes_no()"', "may not think first"),
        ("format = \"weighed(yes_no('no'), expectation('0', '1', '2'))\"", "no score of one token or two"),
        ('format = "nothing()"', "no part is called 'nothing'"),
        ('loss = "hinge"', "loss must be 'listnet', 'listmle'"),
        ("size = 1", "size must be at least 2, not 1"),
        ("hold_out = 1\nheld_out = {tasks = 't'}", "either 'held_out'"),
        ("max_passage = 2", "did you mean 'max_passage_tokens'"),
    ],
)
def test_bad_configurations(tmp_path: Path, toml: str, message: str) -> None:
    told = f'output = "x"\n{toml}\nlists = [{{tasks = "t"}}]\nmodel = {{path = "smollm2"}}'
    (tmp_path / "conf.toml").write_text(told)
    with pytest.raises(BadInput, match=message):
        read_config(tmp_path / "conf.toml", score.Score)


def test_what_rows_begin_with_alike_leaves_each_something() -> None:
    assert score._alike([[1, 2, 3], [1, 2, 3]]) == 2
    assert score._alike([[1, 2, 3], [1, 2], [1, 2, 9]]) == 1
    assert score._alike([[4], [4, 5]]) == 0 == score._alike([[1, 2], [3, 2]])
