"""A known model is asked as published where its words are at hand, and what is done instead is told."""

import json
import re
from pathlib import Path

import pytest

from whyrank.llm.answer import Ok
from whyrank.llm.fake import Fake
from whyrank.parameters import parameters
from whyrank.registry import make
from whyrank.rerank.formats import RankingFormat, YesNo
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.rerank.strategies.pointwise import Pointwise
from whyrank.rerank.strategies.scored import Scored
from whyrank.rerank.templates.catalogue import catalogue, known
from whyrank.rerank.templates.published import published
from whyrank.rerank.templates.template import Template

ZEPHYR = "castorini/rank_zephyr_7b_v1_full"
YAML = "method: singleturn_listwise\nprefix: |\n  Look: {query}.\nbody: |\n  [{rank}] {candidate}\nsuffix: Sort.\n"


@pytest.fixture(autouse=True)
def afresh():
    published.cache_clear()
    yield
    published.cache_clear()


@pytest.fixture
def rank_llm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package of that name with one template, in words of our own."""
    package, info = tmp_path / "rank_llm", tmp_path / "rank_llm-9.9.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "rank_zephyr_template.yaml").write_text(YAML)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rank_llm\nVersion: 9.9\n")
    (info / "RECORD").write_text("rank_llm/rank_zephyr_template.yaml,,\n")
    (info / "top_level.txt").write_text("rank_llm\n")
    monkeypatch.syspath_prepend(str(tmp_path))


def zephyr(asked: list, model: str = ZEPHYR) -> Fake:
    return Fake(lambda prompt: asked.append(prompt) or "[2] > [1]", model=model)


def test_a_known_model_is_asked_as_published(rank_llm: None) -> None:
    asked: list = []
    part = Listwise(zephyr(asked))
    best = part.rank("why?", ["a", "b"])
    assert asked[0].chat == [{"role": "user", "content": "Look: why?.\n[1] a\n[2] b\nSort."}]
    assert [one.index for one in best] == [1, 0]
    assert isinstance(part.asked, Template) and part.asked.form == "rank_zephyr"
    spec = Listwise(Fake(model=ZEPHYR))
    assert repr(spec) == f"listwise(fake(model='{ZEPHYR}'))" and make(repr(spec)) == spec
    told = parameters(spec)["facts"]
    assert told["asked"] == "template('rank_llm:rank_zephyr', form='rank_zephyr')" and len(told["sha256"]) == 64


def test_a_known_model_whose_words_are_not_at_hand_is_asked_in_ours_and_that_is_told() -> None:
    asked: list = []
    part = Listwise(zephyr(asked))
    with pytest.warns(UserWarning, match=r"asked in whyrank's own prompt.*rank_zephyr_template\.yaml"):
        part.rank("why?", ["a", "b"])
    assert asked[0].chat == RankingFormat().render("why?", ["a", "b"]).chat
    assert "facts" not in parameters(Listwise(Fake(model=ZEPHYR)))


def test_a_known_model_that_is_asked_otherwise_is_a_warning(rank_llm: None) -> None:
    asked: list = []
    with pytest.warns(UserWarning, match="asked in another: leave format out, by listwise"):
        Listwise(zephyr(asked), format=RankingFormat()).rank("why?", ["a", "b"])
    assert asked[0].chat == RankingFormat().render("why?", ["a", "b"]).chat


def test_a_strategy_that_wants_another_answer_is_told_which_one_asks_the_model(rank_llm: None) -> None:
    llm = Fake(lambda prompt: "<score>80</score>", model=ZEPHYR)
    with pytest.warns(UserWarning, match="leave format out, by listwise"):
        assert Pointwise(llm).rank("why?", ["a"])[0].score == 80


def test_a_licence_that_is_not_for_commercial_use_is_told() -> None:
    llm = Fake(lambda prompt: Ok("", values=(0.0, 0.0)), model="zeroentropy/zerank-1")
    with pytest.warns(UserWarning, match=r"CC-BY-NC-4\.0: not for commercial use"):
        Scored(llm).rank("why?", ["a"])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("model", ["fake", "tiny", "Qwen/Qwen3-8B", "gpt-4o", "a/b/c/d", "", "../x"])
def test_a_model_of_which_nothing_is_known_is_asked_as_ever(model: str) -> None:
    asked: list = []
    Listwise(zephyr(asked, model)).rank("why?", ["a", "b"])
    assert published(model) is None
    assert asked[0].chat == RankingFormat().render("why?", ["a", "b"]).chat


def test_a_models_folder_with_a_score_of_its_own_is_asked_so(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0].content }}|{{ messages[1].content }}")
    (tmp_path / "1_LogitScore").mkdir()
    (tmp_path / "1_LogitScore" / "config.json").write_text(json.dumps({"true_token_id": 3, "false_token_id": 4}))
    asked: list = []
    llm = Fake(lambda prompt: asked.append(prompt) or Ok("", values=(2.0, 0.5)), model=str(tmp_path))
    assert Scored(llm).rank("q", ["d"])[0].score == 1.5
    assert asked[0].raw and asked[0].chat[0]["content"] == "q|d" and asked[0].targets.tokens == (3, 4)


def test_a_model_in_the_cache_of_the_hub_is_known_by_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "a" * 40
    snapshot = tmp_path / "models--Qwen--Qwen3-Reranker-0.6B" / "snapshots" / commit
    (snapshot / "1_LogitScore").mkdir(parents=True)
    (tmp_path / "models--Qwen--Qwen3-Reranker-0.6B" / "refs").mkdir()
    (tmp_path / "models--Qwen--Qwen3-Reranker-0.6B" / "refs" / "main").write_text(commit)
    (snapshot / "chat_template.jinja").write_text("{{ messages[0].content }}|{{ messages[1].content }}\n")
    (snapshot / "1_LogitScore" / "config.json").write_text(json.dumps({"true_token_id": 9693, "false_token_id": 2152}))
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    found = published("Qwen/Qwen3-Reranker-0.6B")
    assert found is not None and found.template is not None, found
    assert found.template.source == f"hub:Qwen/Qwen3-Reranker-0.6B@{commit}"
    assert found.template.facts["version"] == f"Qwen/Qwen3-Reranker-0.6B@{commit}"
    assert repr(found.template._answer) == "softmax(9693, 2152)"


def test_every_entry_of_the_catalogue_is_whole() -> None:
    forms = catalogue().forms
    for entry in catalogue().models:
        assert re.compile(entry.pattern) and set(entry.forms) <= forms.keys()
        assert entry.engine in {"chat", "raw", "score", "seq2seq", "encoder", "other"}
        assert entry.licence and entry.source and entry.published and entry.strategy
        assert entry.commercial is ("NC" not in entry.licence)


@pytest.mark.parametrize(
    ("model", "form"),
    [
        (ZEPHYR, "rank_zephyr"),
        ("/data/castorini/rank_zephyr_7b_v1_full", "rank_zephyr"),
        ("Qwen/Qwen3-Reranker-4B", "qwen3_reranker"),
        ("ielabgroup/Rank-R1-7B-v0.1", "rank_r1"),
        ("ielabgroup/Rank-R1-7B-v0.2", "rank_r1_v02"),
        ("zeroentropy/zerank-2-reranker", "zerank"),
        ("liuwenhan/reasonrank-32B", "reasonrank"),
        ("liuwenhan/reasonrank-8B", "reasonrank_qwen3"),
    ],
)
def test_models_are_known_by_their_whole_names(model: str, form: str) -> None:
    entry = known(model)
    assert entry is not None and entry.forms[0] == form
    assert known(f"{model}-mine") is None or model == ZEPHYR or model.startswith("/data") or "Rank-R1" in model


def test_yes_and_no_of_ours_stay_what_they_were() -> None:
    assert Scored(Fake(), format=YesNo("no")) == Scored(Fake())
