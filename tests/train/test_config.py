from dataclasses import replace

import pytest

from whyrank.errors import BadInput, NotFound
from whyrank.train.config import (
    GRPO,
    SFT,
    LessonSource,
    Loop,
    Lora,
    Model,
    Optimizer,
    Rewarded,
    Stage,
    plain,
    read_config,
)

GOOD = """
output = "runs/one"
[model]
path = "some/model"
[model.lora]
r = 8
targets = ["q_proj", "v_proj"]
[optimizer]
lr = 1
[[stages]]
steps = 10
sources = [{path = "a.jsonl", format = "ranking()", weight = 2}, {path = "b.jsonl", weight = 1}]
"""


def read(tmp_path, text):
    (tmp_path / "conf.toml").write_text(text)
    return read_config(tmp_path / "conf.toml", SFT)


def test_toml_becomes_a_configuration(tmp_path):
    assert read(tmp_path, GOOD) == SFT(
        "runs/one",
        Model("some/model", lora=Lora(8, targets=("q_proj", "v_proj"))),
        (Stage((LessonSource("a.jsonl", "ranking()", 2.0), LessonSource("b.jsonl", weight=1.0)), steps=10),),
        optimizer=Optimizer(lr=1.0),
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("lr = 1", "learning = 1", "optimizer: no key is called 'learning'"),
        ("lr = 1", "scedule = 'wsd'", "did you mean 'schedule'"),
        ("lr = 1", "lr = 'fast'", "conf.toml: optimizer: lr must be a number, not 'fast'"),
        ("lr = 1", "name = 'sgd'", "optimizer: name must be 'adamw' or 'muon', not 'sgd'"),
        ("r = 8", "r = 8.5", "model: lora: r must be an int, not 8.5"),
        ("r = 8", "r = true", "lora: r must be an int, not True"),
        ('output = "runs/one"', "", "the key 'output' is missing"),
        ('path = "a.jsonl"', 'paht = "a.jsonl"', r"stages\[0\]: sources\[0\]: no key is called 'paht'"),
        ("steps = 10", "", "either 'steps' or 'epochs'"),
        (", weight = 1", "", "to all sources of a stage, one of them above 0, or to none"),
        ('path = "some/model"', "", "either 'path'"),
        ("lr = 1", "lr = [", "not TOML"),
        ("[optimizer]", "[loop]\nbatch = 0\n[optimizer]", "conf.toml: loop: batch must be at least 1, not 0"),
        ("ranking()", "rankin()", r"conf.toml: stages\[0\]: sources\[0\]: format: .* did you mean 'ranking'"),
        ("ranking()", "bm25()", r"sources\[0\]: format: .*bm25"),
        ("[optimizer]", "[held_out]\ntasks = 'a'\nformat = 'ranking('\n[optimizer]", "held_out: format: "),
    ],
)
def test_what_is_wrong_is_named(tmp_path, old, new, told):
    with pytest.raises(BadInput, match=told):
        read(tmp_path, GOOD.replace(old, new, 1))


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: Loop(batch=0), "batch must be at least 1, not 0"),
        (lambda: Optimizer(lr="fast"), "lr must be a number, not 'fast'"),
        (lambda: Optimizer(betas=(0.9, 1.0)), "each of betas must be at least 0 and below 1, not 1.0"),
        (lambda: Lora(targets="all"), "targets must be a tuple of strings, not 'all'"),
        (lambda: Model("m", lora=8), "lora must be a Lora or None, not 8"),
        (lambda: replace(LessonSource("a"), weight=-1), "weight must be at least 0, not -1"),
    ],
)
def test_a_configuration_checks_itself_in_python_too(build, told):
    with pytest.raises(BadInput) as refused:
        build()
    assert str(refused.value) == told


def test_a_folder_is_no_configuration(tmp_path):
    with pytest.raises(BadInput, match="is a folder, a TOML file is wanted"):
        read_config(tmp_path, SFT)


def test_no_such_file(tmp_path):
    with pytest.raises(NotFound):
        read_config(tmp_path / "none.toml", SFT)


def test_a_configuration_is_json(tmp_path):
    import json

    assert json.loads(json.dumps(plain(read(tmp_path, GOOD))))["model"]["lora"]["r"] == 8


@pytest.mark.parametrize(
    ("written", "read"),
    [("'choice()'", ("choice()",)), ("['ranking()', 'choice()']", None)],
)
def test_a_format_or_several(tmp_path, written, read):
    path = tmp_path / "conf.toml"
    path.write_text(f"""output = "o"\ntasks = ["t"]\nsteps = 1\nformat = {written}
        rewards = [{{spec = "ndcg()"}}]\n[model]\npath = "m"\n""")
    assert read_config(path, GRPO).formats == (read or ("ranking()", "choice()"))
    path.write_text(path.read_text().replace(written, "['ranking()', 1]"))
    with pytest.raises(BadInput, match="each of format must be a string, not 1"):
        read_config(path, GRPO)


def test_specs_are_read_before_anything_is_done(tmp_path):
    given = dict(output="out", model=Model("some/model"), tasks=("a.jsonl",), steps=8)
    with pytest.raises(BadInput, match="spec: no part is called 'ndgc': did you mean 'ndcg'"):
        GRPO(**given, rewards=(Rewarded("ndgc()"),), format="ranking()")
    with pytest.raises(BadInput, match="format: no part is called 'reasond'"):
        GRPO(**given, rewards=(Rewarded("ndcg()"),), format="reasond()")
    with pytest.raises(BadInput, match=r"search: .*ranking"):
        GRPO(**given, rewards=(Rewarded("ndcg()"),), search="ranking()")


@pytest.mark.parametrize(
    ("steps", "every", "told"), [(7, 0, "'steps' .7."), (6, 4, "'checkpoint_every' .4."), (6, 3, "")]
)
def test_rounds_are_whole(steps, every, told):
    def made():
        return GRPO("out", Model("some/model"), ("a.jsonl",), (Rewarded("ndcg()"),), steps, "ranking()",
                    iterations=3, loop=Loop(checkpoint_every=every))  # fmt: skip

    if not told:
        assert made().steps == steps
        return
    with pytest.raises(BadInput, match=told + r" must be a multiple of 'iterations' \(3"):
        made()
