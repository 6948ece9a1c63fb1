"""`whyrank reproduce tiny`, as a trial: a hundredth of the lessons and steps, the whole way."""

import json

import pytest

from whyrank import Listwise, Transformers, cli
from whyrank.data_synth.world import SPLITS, World, WorldQuestion
from whyrank.errors import BadInput
from whyrank.io import read_tasks
from whyrank.llm.messages import Sampling
from whyrank.reproduce import tiny as reproduce
from whyrank.reproduce.tiny import LESSONS, read_recipe, rewrites, searched, tiny, write_lessons
from whyrank.rerank.formats import RankingFormat
from whyrank.train.tokenizer import fixed_phrases


def test_lessons_are_of_training_questions_and_the_same_for_a_seed(tmp_path):
    world = World()
    for name in ("one", "again"):
        (tmp_path / name).mkdir()
        write_lessons(tmp_path / name, seed=3, share=0.005)
    for name in (*LESSONS, "windows"):
        tasks = [*read_tasks(tmp_path / "one" / f"{name}.jsonl")]
        assert tasks == [*read_tasks(tmp_path / "again" / f"{name}.jsonl")]
        assert {world.split_of(WorldQuestion(*task.source["question"])) for task in tasks} == {"train"}
        assert {task.source["hops"] for task in tasks} == {1, 2, 3}
    for split in SPLITS[1:]:
        tasks = [*read_tasks(tmp_path / "one" / f"{split}.jsonl")]
        assert {world.split_of(WorldQuestion(*task.source["question"])) for task in tasks} == {split}


def test_windows_are_those_of_a_perfect_listwise():
    tasks = [*searched(World(), 6, seed=0)]
    for last, middle, first in zip(*[iter(tasks)] * 3, strict=True):
        assert [one.id for one in middle.documents[10:]] == [*last.order[:10]]
        assert [one.id for one in first.documents[10:]] == [*middle.order[:10]]
        assert max(first.gains) == 2 and sorted(first.gains, reverse=True) == [first.grades[id] for id in first.order]


def test_rewrites_are_answers_in_words_of_documents_behind_their_steps():
    for lesson in rewrites(World(), 5, seed=0):
        thought, answer = lesson["completion"].split("</think>\n")
        assert thought.startswith("<think>") and ": trust " in answer
        assert lesson["prompt"].endswith("?")


def test_the_fixed_words_of_prompts_are_found():
    phrases = [*fixed_phrases([RankingFormat(), RankingFormat(think="no")], ["Say it. {query} Now."])]
    assert "\n\nPassages:\n\n" in phrases and "Say it. " in phrases
    prompt = RankingFormat().render("why", ["a", "b", "c"]).messages[-1].content
    assert sum(phrase in prompt for phrase in set(phrases)) >= 5


@pytest.mark.parametrize("recipe", ["tiny.toml", "answer_only.toml"])
def test_recipes_name_the_lessons(recipe):
    config = read_recipe(recipe)
    assert {source.path for stage in config.stages for source in stage.sources} <= {
        *(f"{name}.jsonl" for name in LESSONS), "rewrites.jsonl", "windows.jsonl"
    }  # fmt: skip


class BrokenOff(Exception):
    """Ends a call."""


class HalfWritten:
    """A tokenizer whose writing is broken off."""

    def save_pretrained(self, folder):
        folder.mkdir()
        (folder / "tokenizer.json").write_text("{")
        raise BrokenOff


@pytest.fixture
def broken_off(monkeypatch):
    """A call that is broken off while the tokenizer is written."""
    monkeypatch.setattr(reproduce, "write_lessons", lambda folder, *_: (folder / "drills.jsonl").touch())
    monkeypatch.setattr(reproduce, "_tokenizer", HalfWritten)

    def call(folder, **more):
        with pytest.raises(BrokenOff):
            tiny(folder, **more)

    return call


def test_what_was_begun_with_another_seed_or_share_is_refused(tmp_path, broken_off):
    broken_off(tmp_path / "tiny", seed=1)
    broken_off(tmp_path / "tiny", seed=1)
    for more, told in (({"seed": 2}, "seed: 1 there, 2 here"), ({"seed": 1, "share": 0.5}, "share: 1.0 there")):
        with pytest.raises(BadInput, match=told):
            tiny(tmp_path / "tiny", **more)


def test_half_a_tokenizer_is_never_used(tmp_path, broken_off):
    broken_off(tmp_path / "tiny")
    assert {path.name for path in (tmp_path / "tiny").iterdir()} == {"manifest.json", "drills.jsonl"}


def test_a_training_from_before_the_manifest_goes_on(tmp_path, broken_off):
    (tmp_path / "tiny" / "sft").mkdir(parents=True)
    broken_off(tmp_path / "tiny", seed=3)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "drills.jsonl").touch()
    with pytest.raises(BadInput, match="is not empty and holds no run"):
        tiny(tmp_path / "other")


@pytest.mark.engines
def test_a_trial_goes_the_whole_way_and_is_not_done_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce, "HELD_OUT", ("test",))
    model = tiny(tmp_path / "tiny", share=0.005)
    assert "whyrank reproduce tiny" in (model / "README.md").read_text()
    manifest = json.loads((tmp_path / "tiny/sft/manifest.json").read_text())
    assert manifest["finished"]
    before = (tmp_path / "tiny/sft/model/model.safetensors").stat().st_mtime_ns
    assert tiny(tmp_path / "tiny", share=0.005) == model
    assert (tmp_path / "tiny/sft/model/model.safetensors").stat().st_mtime_ns == before
    assert len(Listwise(Transformers(str(model)), sampling=Sampling(max_tokens=8)).rank("why", ["a", "b"])) == 2


def test_nothing_else_can_be_reproduced(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["whyrank", "reproduce", "huge", "-o", str(tmp_path)])
    with pytest.raises(SystemExit):
        cli.main()
    assert "there is no benchmark 'huge'" in capsys.readouterr().err
