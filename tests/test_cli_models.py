"""`whyrank models` and `whyrank prompt`, as they are called."""

import json

import pytest

ZEPHYR = "castorini/rank_zephyr_7b_v1_full"


def test_all_models_are_listed(run) -> None:
    code, out, _ = run("models")
    assert code == 0
    for told in ("castorini/rank_zephyr_7b", "Qwen/Qwen3-Reranker", "CC-BY-NC-4.0", "rank_zephyr_old"):
        assert told in out


def test_one_model_is_told_with_where_its_words_are(run) -> None:
    code, out, _ = run("models", ZEPHYR)
    assert code == 0 and "rank_zephyr_template.yaml" in out and "licence: MIT" in out
    code, out, _ = run("models", ZEPHYR, "--json")
    told = json.loads(out)
    assert told["forms"] == ["rank_zephyr", "rank_zephyr_old"] and (told["template"] or told["missing"])
    assert json.loads(run("models", "--json")[1])["forms"]["rank_zephyr"]


def test_a_model_of_which_nothing_is_known(run) -> None:
    code, out, err = run("models", "nobody/nothing")
    assert (code, out) == (1, "") and "nothing is known of a model 'nobody/nothing'" in err and err.count("\n") == 1


def test_a_prompt_is_shown_and_no_model_is_asked(run) -> None:
    code, out, err = run(
        "prompt", "listwise(fake(), window=2)", "--query", "why?", "--doc", "bees [3]", "--doc", "moon"
    )
    assert code == 0 and "── user ──" in out and "[1] bees (3)\n[2] moon" in out
    assert "tokens unknown" in err and "ranking()" in err


def test_a_prompt_as_json(run, tmp_path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps({"text": "Q: {query} D: {passage}"}))
    spec = "scored(fake(context=100), format=template('mine.json', answer=softmax('yes', 'no')))"
    code, out, _ = run("prompt", spec, "-q", "why?", "-d", "bees", "--json")
    told = json.loads(out)
    assert code == 0 and told["messages"] == [{"role": "raw", "content": "Q: why? D: bees"}]
    assert told["targets"]["tokens"] == ["yes", "no"] and told["sampling"]["max_tokens"] == 1


@pytest.mark.engines
def test_tokens_are_those_of_the_model(run, tiny_lm) -> None:
    code, _, err = run("prompt", f"pointwise(transformers({str(tiny_lm)!r}), format=yes_no())", "-q", "why?", "-d", "a")
    assert code == 0 and " tokens; at most 3,172 new ones" in err and "unknown" not in err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("bm25()", "-q", "why?", "-d", "a"), "a Reranker is wanted"),
        (("encoder_rerank('minilm')", "-q", "why?", "-d", "a"), "of a reranker that asks a model itself"),
        (("listwise(fake())", "-q", "why?", "-d", "a"), "about 1 passages nothing is asked"),
        (("listwise(fake())", "-d", "a"), "missing option '--query'"),
        (("listwise(fake())", "-q", "why?"), "missing option '--doc'"),
        (("listwise(fake(), format=template('gone.yaml'))", "-q", "why?", "-d", "a"), "no template at 'gone.yaml'"),
        (("listwise(fake(), format=template('none:x'))", "-q", "w", "-d", "a"), "no package 'none' is installed"),
        (("listwise(fake(context=20, answer=''))", "-q", "why?", "-d", "a", "-d", "b"), "window"),
    ],
)
def test_a_wrong_call_is_one_line(run, given, said) -> None:
    code, out, err = run("prompt", *given)
    assert code in (1, 2) and out == "" and said in err and err.count("\n") == 1
