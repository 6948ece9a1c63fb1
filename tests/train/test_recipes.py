"""The published recipes load, and all that they name is there."""

import re
import tomllib
from pathlib import Path

import pytest

from whyrank.errors import NotFound
from whyrank.registry import make
from whyrank.rerank.formats import Format, PointFormat
from whyrank.retrieval.rewrite.rewritten import Rewritten
from whyrank.train.config import GRPO, SFT, build
from whyrank.train.recipes import published, text
from whyrank.train.rewards import Reward

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


@pytest.mark.parametrize("name", list(published()))
def test_a_recipe_loads_and_names_what_there_is(name):
    given = tomllib.loads(text(name))
    recipe = build(SFT if "stages" in given else GRPO, given, name)
    formats = [source.format for stage in getattr(recipe, "stages", ()) for source in stage.sources]
    formats += [recipe.held_out.format] if recipe.held_out else []
    formats += [recipe.format] if getattr(recipe, "format", "") else []
    for spec in formats:
        make(spec, Format)
    for reward in getattr(recipe, "rewards", ()):
        assert make(reward.spec, Reward)
    if getattr(recipe, "search", ""):
        assert isinstance(make(recipe.search), Rewritten)
    assert "Hardware:" in text(name) and "Published:" in text(name)
    assert recipe.output == f"runs/{name}"


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
    assert build(SFT if "stages" in given else GRPO, given, "docs/training.md")


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(NotFound, match=r"did you mean 'rearank-7b'"):
        text("rerank-7b")
