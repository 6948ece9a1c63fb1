"""The published recipes load, and all that they name is there."""

import json
import re
import tomllib
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from toy_task import SHAPE
from typer.testing import CliRunner

from whyrank.cli import app
from whyrank.errors import BadInput, NotFound
from whyrank.io import read_tasks
from whyrank.registry import make
from whyrank.rerank.formats import Format, PointFormat
from whyrank.retrieval.rewrite.rewritten import Rewritten
from whyrank.train.config import GRPO, SFT, Lora, Model, Rewarded, build
from whyrank.train.encoders import Encoder
from whyrank.train.grpo import _rewards
from whyrank.train.models import load_model
from whyrank.train.recipes import published, text
from whyrank.train.rewards import Reward
from whyrank.train.score import Score

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


@pytest.mark.parametrize("name", list(published()))
def test_a_recipe_loads_and_names_what_there_is(name):
    given = tomllib.loads(text(name))
    recipe = build(SFT if "stages" in given else GRPO, given, name)
    formats = [source.format for stage in getattr(recipe, "stages", ()) for source in stage.sources]
    formats += [recipe.held_out.format] if recipe.held_out and recipe.held_out.format else []
    formats += [recipe.format] if getattr(recipe, "format", "") else []
    for spec in formats:
        make(spec, Format)
    for reward in getattr(recipe, "rewards", ()):
        assert make(reward.spec, Reward)
    if getattr(recipe, "search", ""):
        assert isinstance(make(recipe.search), Rewritten)
    assert "Hardware:" in text(name) and "Published:" in text(name)
    assert recipe.output == f"runs/{name}"


@pytest.mark.parametrize("name", [name for name in published() if "rewards" in tomllib.loads(text(name))])
def test_rewards_of_recipes_read_what_their_prompts_ask_for(name):
    assert _rewards(build(GRPO, tomllib.loads(text(name)), name))


def test_rewards_that_read_another_form_are_refused():
    asked = GRPO("out", Model("tiny"), ("lists.jsonl",), (Rewarded("mix(cost(), ndcg())"),), 1, "ranking(think='no')")
    with pytest.raises(
        BadInput, match=r"reads ranking\(\), but prompts are ranking\(think='no'\): write format=ranking\(think='no'\)"
    ):
        _rewards(asked)
    assert _rewards(replace(asked, rewards=(Rewarded("ndcg(format=ranking(think='no'))"),)))


@pytest.mark.engines
def test_a_model_that_comes_along_can_be_trained():
    model, chat = load_model(Model("tiny"), 0)
    assert len(chat.tokenizer) == model.get_input_embeddings().num_embeddings


def test_their_constants_are_the_published_ones():
    recipes = {name: tomllib.loads(text(name)) for name in published()}
    loops = {name: recipe["loop"]["batch"] * recipe["loop"].get("accumulation", 1) for name, recipe in recipes.items()}
    rl = recipes["reasonrank-7b-rl"]
    assert (rl["optimizer"]["lr"], rl["beta"], rl["generations"], rl["steps"]) == (1e-6, 0.001, 8, 200)
    assert 8 * loops["reasonrank-7b-rl"] == 16 * 8
    assert 8 * loops["rearank-7b"] == 128 * 32
    assert 8 * loops["retro-star-7b-rl"] == 256 * 8
    assert loops["rank-r1-7b"] == 16 and recipes["rank-r1-7b"]["model"]["lora"] == {
        "r": 16,
        "alpha": 32,
        "dropout": 0.05,
    }
    assert isinstance(make(recipes["retro-star-7b-rl"]["format"]), PointFormat)


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL))
def test_what_the_page_shows_loads(block):
    given = tomllib.loads(block)
    kind: type = SFT if "stages" in given else GRPO if "rewards" in given else Score if "format" in given else Encoder
    assert build(kind, given, "docs/training.md")


@pytest.mark.parametrize("name", list(published()))
def test_weights_that_all_move_are_kept_in_float32(name):
    given = tomllib.loads(text(name))
    recipe = build(SFT if "stages" in given else GRPO, given, name)
    assert recipe.model.lora or (recipe.model.dtype == "float32" and recipe.loop.deepspeed == "zero2.json")


def test_training_all_weights_in_half_precision_is_warned_of(words):
    with pytest.warns(UserWarning, match="all weights are trained in bfloat16, in which most updates round away"):
        load_model(Model(tokenizer=words, config=SHAPE, dtype="bfloat16"), 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_model(Model(tokenizer=words, config=SHAPE), 0)
        load_model(Model(tokenizer=words, config=SHAPE, dtype="bfloat16", lora=Lora()), 0)


def test_the_page_has_the_file_that_recipes_name():
    (block,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert json.loads(block)["zero_optimization"] == {"stage": 2}


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(NotFound, match=r"did you mean 'rearank-7b'"):
        text("rerank-7b")


def whyrank(*words: str):
    return CliRunner().invoke(app, ["train", *words])


def test_on_the_command_line(tmp_path):
    assert whyrank("recipes").stdout.splitlines() == [f"{name:22} {about}" for name, about in published().items()]
    assert whyrank("recipes", "rearank-7b").stdout == text("rearank-7b")
    (tmp_path / "conf.toml").write_text(text("rearank-7b").replace("steps = 160", "stpes = 160"))
    assert "no key is called 'stpes': did you mean 'steps'?" in str(
        whyrank("grpo", str(tmp_path / "conf.toml")).exception
    )
    assert "no such file: data/reasonrank-train.jsonl" in str(whyrank("sft", recipe(tmp_path)).exception)
    done = whyrank("queries", "--data", "toy", "-o", str(tmp_path / "queries.jsonl"))
    assert "queries.jsonl: 15 queries" in done.stdout
    assert all(task.relevant == len(task.documents) for task in read_tasks(tmp_path / "queries.jsonl"))


def recipe(folder: Path) -> str:
    (folder / "recipe.toml").write_text(text("reasonrank-7b-sft"))
    return str(folder / "recipe.toml")
