"""Cross-encoders trained on real sentence-transformers, on a toy of ten rules, from a model made on the spot."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import toy_task
from hypothesis import given
from hypothesis import strategies as st
from toy_task import same, weights
from typer.testing import CliRunner

from whyrank.errors import BadInput, EngineError, NotFound
from whyrank.io import write_tasks
from whyrank.rerank.strategies.encoder import EncoderRerank
from whyrank.train import encoders
from whyrank.train.config import Loop, Optimizer, read_config
from whyrank.train.lists import RankedLists, drawn, gains_of, mined, read, teaches
from whyrank.train.monitor import Monitor, metrics
from whyrank.train.scoring import material, measured
from whyrank.types import Corpus, Dataset, Document, Query, RankTask, Run

engines = pytest.mark.engines
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *toy_task.NEEDS, *toy_task.HELPS]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A BERT of two layers with random weights, as a bi-encoder would be saved."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("small")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=32,
    )  # fmt: skip
    BertModel(shape).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def config(tmp_path: Path, small: str) -> Any:
    train, test = toy_task.write(tmp_path, 64, 20)

    def make(name: str = "run", **given: Any) -> encoders.Encoder:
        loop = {"batch": 8, "threads": 1, "log_every": 1, "checkpoint_every": 0, "report_to": ()}
        loop |= {key: given.pop(key) for key in list(given) if key in Loop.__dataclass_fields__}
        told = {"size": 3, "dropout": 0.0, "max_length": 16, "held_out": RankedLists(tasks=test), "every": 1000} | given
        return encoders.Encoder(
            str(tmp_path / name),
            (RankedLists(tasks=train),),
            small,
            optimizer=Optimizer(lr=3e-3),
            loop=Loop(**loop),
            **told,
        )

    return make


@engines
@pytest.mark.parametrize(
    ("head", "loss", "bar"),
    [("cosine", "listnet", 0.95), ("cosine", "plackett_luce", 0.95), ("linear", "ranknet", 0.75)],
)
def test_it_learns_ten_rules(config: Any, head: Any, loss: Any, bar: float) -> None:
    done = encoders.train(config(loss=loss, head=head, epochs=10))
    seen = [line["held_out/nDCG@10"] for line in metrics(done.folder) if "held_out/nDCG@10" in line]
    assert len(seen) == 2 and seen[0] < 0.8 and seen[-1] > bar
    tasks = list(read(config().held_out))
    reranker = EncoderRerank(str(done.model))
    orders = [[one.id for one in reranker.rank(task.query, task.documents)] for task in tasks[:5]]
    loaded = encoders.CrossEncoder(
        encoders.new_cross_encoder(str(done.model), head, dropout=0, max_length=16, device="cpu", asked_by="test"), ""
    )
    assert measured(loaded.score, tasks)["nDCG@10"] == pytest.approx(seen[-1])
    right = sum(order[0] in task.grades for order, task in zip(orders, tasks, strict=False))
    assert right >= (4 if head == "cosine" else 2)
    assert encoders.train(config(loss=loss, head=head, epochs=10)).report == done.report


@engines
@pytest.mark.parametrize("loss", ["listmle", "plackett_luce"])
def test_a_resumed_run_is_an_unbroken_one(config: Any, loss: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"loss": loss, "dropout": 0.2, "checkpoint_every": 3}
    unbroken = encoders.train(config("unbroken", **told))
    step = Monitor.on_step_end

    def break_off(self: Monitor, args: Any, state: Any, control: Any, **more: Any) -> None:
        step(self, args, state, control, **more)
        if state.global_step == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Monitor, "on_step_end", break_off)
        encoders.train(config("broken", **told))
    resumed = encoders.train(config("broken", **told))
    assert metrics(resumed.folder) == metrics(unbroken.folder)
    assert same(resumed.model, unbroken.model)


@engines
def test_a_step_is_the_same_however_it_is_cut(config: Any) -> None:
    whole, cut = encoders.train(config("whole")), encoders.train(config("cut", batch=1, accumulation=8))
    losses = [[line["loss"] for line in metrics(done.folder) if "loss" in line] for done in (whole, cut)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert same(whole.model, cut.model, 2e-4)


@engines
def test_frozen_layers_stay(config: Any, small: str) -> None:
    done = encoders.train(config(frozen=1))
    start, end = weights(Path(small)), weights(done.model)
    moved = {name for name in start if name in end and not start[name].equal(end[name])}
    assert moved and all(name.startswith("encoder.layer.1.") for name in moved)
    with pytest.raises(BadInput, match="it has 2"):
        encoders.train(config("deep", frozen=3))


def test_layers_of_decoders_are_frozen_too() -> None:
    from transformers import Qwen3Config, Qwen3ForSequenceClassification

    shape = Qwen3Config(
        vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=1,
        num_key_value_heads=1, head_dim=8, num_labels=1,
    )  # fmt: skip
    network = Qwen3ForSequenceClassification(shape)
    encoders._freeze(SimpleNamespace(transformers_model=network), 1)
    stays = {name for name, one in network.named_parameters() if not one.requires_grad}
    assert stays and all(name.startswith(("model.embed_tokens", "model.layers.0.")) for name in stays)


@engines
@pytest.mark.parametrize(
    ("kind", "known"), [("bert", "hidden_dropout_prob"), ("modernbert", "mlp_dropout"), ("qwen3", "attention_dropout")]
)
def test_dropout_is_what_the_architecture_calls_it(tmp_path: Path, small: str, kind: str, known: str) -> None:
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    shape = AutoConfig.for_model(
        kind, vocab_size=len(WORDS), hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, head_dim=16, pad_token_id=0, bos_token_id=2, eos_token_id=3, cls_token_id=2,
        sep_token_id=3,
    )  # fmt: skip
    AutoModel.from_config(shape).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(small).save_pretrained(tmp_path)
    made = partial(encoders.new_cross_encoder, str(tmp_path), "linear", max_length=16, device="cpu", asked_by="test")
    assert getattr(made(dropout=0.3).transformers_model.config, known) == 0.3
    AutoConfig.for_model("mamba").save_pretrained(tmp_path)
    with pytest.raises(BadInput, match=r"\(mamba\) has no dropout that is known here: take dropout = 0"):
        made(dropout=0.3)


@engines
def test_a_cosine_head_makes_a_ranker_of_a_bi_encoder() -> None:
    engine = encoders.new_cross_encoder("minilm", "cosine", dropout=0, max_length=64, device="cpu", asked_by="test")
    documents = ["Rust is stopped by oil.", "The opera was sold out.", "Cats sleep most of the day."]
    scores = encoders.CrossEncoder(engine, "minilm").score(
        [("what helps against corrosion of iron?", one) for one in documents]
    )
    assert scores.argmax() == 0


@engines
def test_the_command_line(config: Any, tmp_path: Path, small: str) -> None:
    from whyrank.cli import app

    asked = config()
    path = tmp_path / "conf.toml"
    path.write_text(
        f'output = "{asked.output}"\nmodel = "{small}"\nsize = 3\nhold_out = 10\nmax_length = 16\n'
        f'[[lists]]\ntasks = "{asked.lists[0].tasks}"\n[loop]\nbatch = 8\ncheckpoint_every = 0\nreport_to = []\n'
    )
    said = CliRunner().invoke(app, ["train", "encoder", str(path), "--json"])
    report = json.loads(said.stdout)
    assert report["sources"] == {asked.lists[0].tasks: {"used": 54, "nothing_to_learn": 0, "held_out": 10}}
    assert report["steps"] == 7 and "nDCG@10" in report["held_out"]
    assert "EncoderRerank" in (Path(report["model"]) / "README.md").read_text()


@engines
def test_what_cannot_be_learnt_from(config: Any, tmp_path: Path) -> None:
    documents = (Document("a", "oil"), Document("b", "tar"))
    write_tasks([RankTask(Query("1", "rust"), documents), RankTask(Query("2", "rust"), documents, {"a": 1, "b": 1})],
                tmp_path / "even.jsonl")  # fmt: skip
    even = RankedLists(tasks=str(tmp_path / "even.jsonl"))
    with pytest.raises(BadInput, match=r"nothing can be learnt.*'nothing_to_learn': 2"):
        encoders.train(replace(config(), lists=(even,)))
    with pytest.raises(BadInput, match="nothing is left to learn from"):
        encoders.train(config(held_out=None, hold_out=64))
    with pytest.raises(EngineError, match="cannot load"):
        encoders.train(
            config(model=str(tmp_path / "nowhere")) if False else replace(config(), model=str(tmp_path / "no"))
        )
    with pytest.raises(NotFound, match=r"gone\.jsonl"):
        encoders.train(replace(config(), lists=(RankedLists(tasks="gone.jsonl"),)))
    assert not Path(config().output).exists()


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("", "the key 'output' is missing"),
        ('output = "x"\nlists = []', "lists must be 1 or more"),
        ('output = "x"\n[[lists]]\ndata = "toy"', "from 'data' with a 'run'"),
        ('output = "x"\nlos = "listnet"\n[[lists]]\ntasks = "t"', "did you mean 'loss'"),
        ('output = "x"\nloss = "hinge"\n[[lists]]\ntasks = "t"', "loss must be 'listnet', 'listmle'"),
        ('output = "x"\nsize = 1\n[[lists]]\ntasks = "t"', "size must be at least 2, not 1"),
        ('output = "x"\nhold_out = 1\n[[lists]]\ntasks = "t"\n[held_out]\ntasks = "t"', "either 'held_out'"),
    ],
)
def test_bad_configurations(tmp_path: Path, toml: str, message: str) -> None:
    (tmp_path / "conf.toml").write_text(toml)
    with pytest.raises(BadInput, match=message):
        read_config(tmp_path / "conf.toml", encoders.Encoder)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(2, 6), st.integers(1, 3), st.integers(0, 99))
def test_drawn_lists(grades: list[int], size: int, epochs: int, seed: int) -> None:
    documents = tuple(Document(str(at), f"text {at}") for at in range(len(grades)))
    task = RankTask(Query("q", "a"), documents, {str(at): grade for at, grade in enumerate(grades)})
    rows = drawn([task], size, epochs, seed)
    if not teaches(task):
        assert len(set(grades)) == 1 and not rows
        return
    assert len(rows) == epochs and drawn([task], size, epochs, seed) == rows
    for row in rows:
        places = [int(text.removeprefix("text ")) for text in row.documents]
        assert len(set(places)) == len(places) == min(size, len(grades))
        assert [grades[at] for at in places] == list(row.gains) and min(row.gains) < max(row.gains)
        good, bad = sum(gain > min(grades) for gain in row.gains), sum(grade == min(grades) for grade in grades)
        assert good <= max(size // 2, size - bad)


def test_a_teachers_order_stands_in_for_grades() -> None:
    documents = tuple(map(Document, "abc", "abc"))
    assert gains_of(RankTask(Query("q", "a"), documents, order=("c", "a", "b"))) == (0.5, 0.0, 1.0)
    assert gains_of(RankTask(Query("q", "a"), documents, {"b": 2}, ("c", "a", "b"))) == (0.0, 2.0, 0.0)


def test_sources_that_differ_only_in_their_limit_are_all_learnt_from(tmp_path: Path) -> None:
    train, _ = toy_task.write(tmp_path, 8, 1)
    config = encoders.Encoder("run", (RankedLists(tasks=train, limit=3), RankedLists(tasks=train, limit=5)))
    rows, counts, held = material(config)
    assert len(rows) == 8 and not held and counts == {train: {"used": 8, "nothing_to_learn": 0}}


@pytest.mark.parametrize("seed", range(5))
def test_no_query_that_is_held_out_of_one_source_is_learnt_from_another(tmp_path: Path, seed: int) -> None:
    train, _ = toy_task.write(tmp_path, 8, 1)
    config = encoders.Encoder(
        "run", (RankedLists(tasks=train, limit=6), RankedLists(tasks=train)), hold_out=2, seed=seed
    )
    rows, counts, held = material(config)
    asked = {task.query for task in held}
    learnt = [task.query for lists in config.lists for task in read(lists) if task.query not in asked]
    assert len(held) == 2 and sorted(row.query for row in rows) == sorted(query.text for query in learnt)
    assert counts == {train: {"used": len(learnt), "nothing_to_learn": 0, "held_out": 14 - len(learnt)}}
    assert len(learnt) < 12


def test_lists_from_a_first_stage(tmp_path: Path) -> None:
    corpus = Corpus([Document(id, id) for id in "abcd"])
    data = Dataset("d", corpus, [Query("1", "x"), Query("2", "y")], {"1": {"a": 0, "d": 2, "b": -1}})
    run = Run.of({"1": ["a", "b", "c"], "2": ["a"]})
    (task,) = mined(data, run, depth=2)
    assert [one.id for one in task.documents] == ["a", "b", "d"] and task.gains == (0, 0, 2)
    (found,) = mined(data, run, depth=2, add_relevant=False)
    assert [one.id for one in found.documents] == ["a", "b"] and not found.relevant
    with pytest.raises(BadInput, match="document 'z' is not among"):
        list(mined(data, Run.of({"1": ["z"]})))
    with pytest.raises(BadInput, match="the file is empty"):
        (tmp_path / "empty.jsonl").write_text("")
        read(RankedLists(tasks=str(tmp_path / "empty.jsonl")))
