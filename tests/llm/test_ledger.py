import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrank.errors import BadInput, NotFound
from whyrank.llm.answer import Failed, Ok
from whyrank.llm.ledger import Call, Ledger, Price, Prices, Tally
from whyrank.types import Usage

TABLE = {"Qwen/Qwen3-8B": {"input": 0.1, "output": 0.4, "cached": 0.05}, "big": {"input": 2, "output": 8}}


def test_prices_are_read_from_json_and_toml_alike(tmp_path: Path) -> None:
    (tmp_path / "prices.json").write_text(json.dumps(TABLE))
    (tmp_path / "prices.toml").write_text(
        '["Qwen/Qwen3-8B"]\ninput = 0.1\noutput = 0.4\ncached = 0.05\n[big]\ninput = 2\noutput = 8\n'
    )
    prices = Prices.read(tmp_path / "prices.json")
    assert prices == Prices.read(str(tmp_path / "prices.toml"))
    assert prices.cost("Qwen/Qwen3-8B", Usage(1_000_000, 500_000, 400_000, 600_000)) == pytest.approx(0.04 + 0.03 + 0.2)
    assert prices.cost("big", Usage(1_000_000, 0, 0, 600_000)) == 2.0  # cached input costs like other input
    with pytest.raises(BadInput, match="no model 'small'; it has Qwen/Qwen3-8B, big"):
        prices.cost("small", Usage())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "cannot be read as json"),
        ("[]", "expected a table of models"),
        ('{"m": 3}', "'m': expected input, output"),
        ('{"m": {"input": 1}}', "'m': expected input, output"),
        ('{"m": {"input": 1, "output": 2, "extra": 3}}', "'m': expected input, output"),
        ('{"m": {"input": "1", "output": 2}}', "'m': input must be a number from 0 up, not '1'"),
        ('{"m": {"input": 1, "output": -2}}', "'m': output must be a number from 0 up, not -2"),
        ('{"m": {"input": NaN, "output": 2}}', "'m': input must be a number"),
        ('{"m": {"input": true, "output": 2}}', "'m': input must be a number"),
    ],
)
def test_a_wrong_price_table_is_told_by_file_and_model(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=told) as caught:
        Prices.read(path)
    assert str(path) in str(caught.value)
    with pytest.raises(NotFound, match="no price table at"):
        Prices.read(tmp_path / "none.toml")


usages = st.builds(Usage, *[st.integers(0, 1000)] * 4)
outcomes = st.one_of(
    st.builds(Ok, st.just("text"), usage=usages), st.sampled_from([Failed("server", "x"), Failed("context", "y")])
)
calls = st.builds(
    Call,
    key=st.just("k"),
    model=st.just("big"),
    query=st.sampled_from("abc"),
    step=st.integers(1, 9),
    completion=outcomes,
    retries=st.integers(0, 5),
    seconds=st.integers(0, 100).map(float),
    cut=st.sampled_from([(), ("document",), ("document", "query")]),
)


@given(st.lists(calls))
def test_queries_add_up_to_the_total_and_every_call_is_counted_once(made: list[Call]) -> None:
    ledger = Ledger(Prices({"big": Price(2, 8)}))
    for call in made:
        ledger.add(call)
    total, parts = ledger.total, list(ledger.queries.values())
    answered = [call.completion for call in made if isinstance(call.completion, Ok)]
    assert total.calls == len(made) and total.failed == len(made) - len(answered)
    assert total.tokens == sum(said.usage.input + said.usage.output for said in answered)
    assert total.cut_queries == sum("query" in call.cut for call in made)
    for name in ("calls", "retries", "seconds", "cut_documents", "cut_queries", "failed", "tokens"):
        assert getattr(total, name) == sum(getattr(part, name) for part in parts), name
    assert total.cost == pytest.approx(sum(part.cost or 0 for part in parts))
    assert total.failures == sum((part.failures for part in parts), Counter())
    json.dumps(total.to_dict())


def test_a_tally_reads_well() -> None:
    ledger = Ledger()
    ledger.add(Call("k", "m", "q", 1, Ok("yes", usage=Usage(12_000, 900, 700)), retries=2))
    ledger.add(Call("k", "m", "q", 2, Failed("timeout", "slow"), cut=("query",)))
    ledger.replay("q")
    assert str(ledger.total) == (
        "2 calls, 12,000 tokens in, 900 out (700 reasoning), 1 replayed, 2 retries, 1 failed (timeout), "
        "1 with a cut query"
    )
    assert ledger.total.to_dict()["cost"] is None  # without prices it is not known; with them it may be nothing
    assert Ledger(Prices({})).total.to_dict()["cost"] == 0
    assert str(Tally(calls=1, cost=0.5)) == "1 calls, 0 tokens in, 0 out, cost 0.5000"
    assert ledger.queries["q"].to_dict() == ledger.total.to_dict()
    assert ledger.total.to_dict()["failures"] == {"timeout": 1}
