"""Recommendation on the command line: held interfaces, one protocol for a run and its judgements, trust."""

import json

import pytest
import shop

from whyrank.datasets import load
from whyrank.errors import Untrusted

DATA = "interactions('clicks.csv', user='user', item='item', time='time', items='items.csv')"


@pytest.fixture
def whyrank(run, tmp_path):
    shop.write(tmp_path)
    return run


def test_search_eval_and_compare(whyrank):
    for spec, out in (("popularity()", "runs/pop"), ("fuse(chain(), item_knn(), titles(bm25()))", "runs/fused")):
        code, told, error = whyrank("search", spec, "--data", DATA, "-k", 20, "-o", out, "--json")
        assert code == 0, error
        assert json.loads(told)["queries"] == 57
    code, told, error = whyrank(
        "eval", "runs/pop", "runs/fused", "--data", DATA, "-m", "nDCG@10", "-m", "Success@10", "--compare", "--json"
    )
    assert code == 0, error
    found = json.loads(told)
    protocol = load(DATA).qrels.protocol
    assert found["fused"]["protocol"] == found["pop"]["protocol"] == protocol
    assert found["fused"]["spread"]["coverage"] > found["pop"]["spread"]["coverage"]
    assert found["fused"]["spread"]["popularity"] < found["pop"]["spread"]["popularity"]
    assert found["pop"]["detectable"] == pytest.approx(2.8 * 0.145 / 57**0.5)
    assert found["fused"]["Success@10"] > 0.5 > found["pop"]["Success@10"]
    assert found["comparison"][0]["p_holm"] < 0.01
    manifest = json.loads(open("runs/pop/manifest.json").read())
    assert manifest["task"]["data"]["protocol"] == protocol
    assert manifest["task"]["data"]["left_out"] == {"targets that the user has had before": 3}
    code, told, _ = whyrank("eval", "runs/fused", "--data", DATA, "--by", "history")
    assert code == 0
    assert f"protocol: {protocol}" in told
    assert "fused, 5–9" in told
    assert "fused: its first 10 reach" in told
    assert "below 0.0538 are not told from chance" in told


@pytest.mark.parametrize("other", ["leave_one_out(seed=1)", "leave_one_out(repeats='allow')", "global_time()"])
def test_a_run_of_another_protocol_is_refused(whyrank, other):
    assert whyrank("search", "chain()", "--data", DATA, "-o", "runs/chain")[0] == 0
    code, _, error = whyrank("eval", "runs/chain", "--data", DATA[:-1] + f", protocol={other})")
    assert code == 1
    assert "runs/chain was made by the protocol 'clicks@" in error
    assert whyrank("eval", "runs/chain", "--data", DATA, "--split", "dev")[0] == 1


def test_changed_clicks_are_another_experiment_and_another_protocol(whyrank, tmp_path):
    assert whyrank("search", "chain()", "--data", DATA, "-o", "runs/chain")[0] == 0
    shop.write(tmp_path, shop.clicks()[:-1])
    code, _, error = whyrank("search", "chain()", "--data", DATA, "-o", "runs/chain")
    assert code == 1
    assert "runs/chain" in error
    assert whyrank("eval", "runs/chain", "--data", DATA)[0] == 1


def test_a_recommender_on_a_collection_without_users(whyrank):
    code, _, error = whyrank("search", "chain()", "--data", "toy", "-o", "runs/x")
    assert code == 1
    assert "chain learns from what users did" in error


def test_a_file_that_names_data_imports_no_code(whyrank, tmp_path):
    (tmp_path / "evil.py").write_text("open('imported', 'w').write('yes')")
    for protocol in ("evil.Protocol()", "evil.Protocol"):
        with pytest.raises(Untrusted, match="no code is imported because a file names it"):
            load(DATA[:-1] + f", protocol={protocol})", told_by="runs/foreign/manifest.json")
    assert not (tmp_path / "imported").exists()
    assert load(DATA, told_by="runs/foreign/manifest.json").queries
