import pytest

from whyrank.integrations.dspy import WhyrankRM, search_tool

SPEC = "listwise(fake('<think>[2] says where.</think><answer>[2] > [3] > [1]</answer>'))"


def test_what_dspy_reads():
    found = WhyrankRM("bm25()", "toy")("why do bees dance?", k=3)
    reranked = WhyrankRM("bm25()", "toy", SPEC)("why do bees dance?", k=1)
    assert reranked[0].long_text == found[1].long_text
    assert reranked[0].reason == "[2] says where."


def test_in_dspy_itself():
    dspy = pytest.importorskip("dspy", reason="group serve-frameworks is not installed")
    rm = WhyrankRM("bm25()", "toy")
    with dspy.context(rm=rm):
        found = dspy.Retrieve(k=2)("why do bees dance?")
    assert found.passages == [one.long_text for one in rm("why do bees dance?", k=2)]
    tool = dspy.Tool(search_tool(rm, 2))
    assert tool.name == "search"
    assert tool(query="why do bees dance?") == found.passages
