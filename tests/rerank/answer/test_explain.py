"""Reasons are kept: each document knows which calls showed it, what they said of it, and what they took."""

import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from whyrank import experiment
from whyrank.errors import BadInput
from whyrank.fusion import Fusion
from whyrank.llm.answer import Completion, Failed, Ok
from whyrank.llm.fake import Fake
from whyrank.llm.ledger import Price, Prices
from whyrank.llm.messages import Prompt
from whyrank.llm.trace import Trace
from whyrank.rerank.answer.ranked_list import RankedList
from whyrank.rerank.around.compose import Cascade, Hybrid
from whyrank.rerank.around.consensus import Consensus
from whyrank.rerank.base import LLMReranker, Order, Request, Reranker
from whyrank.rerank.formats import Format, RankingFormat
from whyrank.rerank.strategies.adaptive import Adaptive
from whyrank.rerank.strategies.groupwise import Groupwise
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.rerank.strategies.merge_tree import MergeTree
from whyrank.rerank.strategies.pairwise import Pairwise
from whyrank.rerank.strategies.pointwise import Pointwise
from whyrank.rerank.strategies.setwise import Setwise
from whyrank.rerank.strategies.top_down import TopDown
from whyrank.rerank.strategies.tournament import Tournament
from whyrank.types import Corpus, Dataset, Document, Query, Run, Usage

NAMES = [f"thing{chr(105 + at // 10)}{chr(105 + at % 10)}" for at in range(60)]  # no label among their letters
TEXTS = [f"All that is known of {name}, told at length." for name in NAMES]
DATA = Dataset(
    "things", Corpus(Document(f"d{at}", text) for at, text in enumerate(TEXTS)), (Query("q", "what is it?"),)
)
FIRST = Run.of({"q": {f"d{at}": 100.0 - at for at in range(len(TEXTS))}}, name="first")


def thinking(format: Format[Any], seed: int = 0) -> Fake:
    """Answers at random, in the format, after a thought with one sentence about each passage."""

    def answer(prompt: Prompt) -> Completion:
        shown = [piece.text for message in prompt.messages[:2] for piece in message.pieces if piece.cut == "document"]
        named = [next(name for name in NAMES if name in text) for text in shown]
        labels = "AB" if "Passage A:" in prompt.messages[1].content else range(1, len(shown) + 1)
        lot = random.Random(f"{seed} {named}")
        said = [f"Passage {label} tells of {name}." for label, name in zip(labels, named, strict=True)]
        thought = f"What is asked? {' '.join(lot.sample(said, len(said)))} So be it."
        answered = format.write([lot.random() for _ in shown])
        return replace(answered, reasoning=thought, usage=Usage(100, 10), finish="stop")

    return Fake(answer)


def made(part: Callable[..., LLMReranker], **given: Any) -> LLMReranker:
    return part(thinking(part(Fake(), **given).format), **given)  # type: ignore[attr-defined]


STRATEGIES: dict[str, Reranker] = {
    "listwise": made(Listwise),
    "direct": made(Listwise, window=7, stride=2, format=RankingFormat(think="no")),
    "merge_tree": made(MergeTree, window=10),
    "top_down": made(TopDown, window=10),
    "tournament": made(Tournament, repeats=2),
    "setwise": made(Setwise, children=5),
    "insertion": made(Setwise, children=5, method="insertion"),
    "groupwise": made(Groupwise, group=7),
    "pointwise": made(Pointwise),
    "pairwise": made(Pairwise, k=3),
    "sliding": made(Pairwise, k=2, method="sliding"),
    "adaptive": made(Adaptive),
    "consensus": Consensus(made(Listwise, window=7), shuffles=3),
    "cascade": Cascade(made(Pointwise), made(Listwise, window=7), Consensus(made(Pairwise), 2), depths=(50, 20, 5)),
    "hybrid": Hybrid(made(Setwise)),
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_says_whom_each_call_showed(strategy: str) -> None:
    """The thoughts name passages by label alone: a wrong place anywhere gives a document another one's sentence."""
    reranker = STRATEGIES[strategy]
    run = reranker.rerank(FIRST, DATA, depth=50)
    for ranked in (RankedList.of(run, "q", DATA), reranker.rank("what is it?", TEXTS[:50])):
        assert ranked.calls and all(call.shown and call.key for call in ranked.calls)
        touched = [item for item in ranked if item.calls]
        assert len(touched) >= 20
        for item in touched:
            name = next(name for name in NAMES if name in item.text)
            assert f"tells of {name}." in item.reason and item.thought.startswith("What is asked?")
            if strategy != "pointwise":
                assert sum(other in item.reason for other in NAMES) == 1
        for item in ranked:
            assert len(item.calls) == len(item.places) == sum(item.statuses.values())
            assert item.spent.tokens == 110 * item.spent.calls == 110 * len({call.key for call in item.calls})
        assert ranked.spent.calls == len({call.key for call in ranked.calls})


def test_first_stage_scores_and_ranks_are_kept() -> None:
    run = made(Listwise).rerank(FIRST, DATA, depth=50)
    for item in RankedList.of(run, "q", DATA):
        at = int(item.id[1:])
        assert (item.index, item.first_rank, item.text) == (at, at + 1, TEXTS[at])
        assert item.first_score == (100.0 - at if at < 50 else None)
        assert bool(item.calls) == (at < 50)
    assert [item.id for item in RankedList.of(run, "q")[50:]] == [f"d{at}" for at in range(50, 60)]
    scored = RankedList.of(made(Pointwise).rerank(FIRST, DATA, depth=5), "q")
    assert all(isinstance(item.score, float) for item in scored[:5]) and scored[5].score is None


def test_notes_hold_each_thought_once() -> None:
    note = json.dumps(made(Listwise).rerank(FIRST, DATA, depth=20).notes["q"].to_dict())
    assert note.count("What is asked?") == 1
    assert json.loads(note)["calls"][0]["shown"] == [f"d{at}" for at in range(20)]


def test_a_thought_that_does_not_speak_of_a_document_gives_no_reason() -> None:
    ranked = Listwise(Fake("<think>[2] says why.</think><answer>[2] > [1]</answer>")).rank("why?", ["one", "two"])
    assert [item.reason for item in ranked] == ["[2] says why.", ""]
    assert "no thought speaks of it" in ranked.explain()


def test_the_last_call_that_speaks_of_a_document_gives_the_reason() -> None:
    def answer(prompt: Prompt) -> Completion:
        head = "one" in prompt.messages[1].content
        return Ok("[1] > [2]", reasoning="[1] is first." if head else "[1] is late. [2] is last.")

    ranked = Listwise(Fake(answer), window=2, stride=1).rank("why?", ["one", "two", "three"])
    assert [item.reason for item in ranked] == ["[1] is first.", "[1] is late.", "[2] is last."]
    assert [len(item.calls) for item in ranked] == [1, 2, 1]


def test_seconds_and_cost_where_they_are_known(tmp_path: Path) -> None:
    prices = Prices({"fake": Price(1e4, 1e5)})
    with Trace(prices=prices) as trace:
        ranked = made(Listwise).rank("what is it?", TEXTS[:30], trace)
    assert ranked.spent.cost == pytest.approx(2 * 2.0) == trace.ledger.total.cost
    assert all(call.seconds >= 0 for call in ranked.calls)
    with Trace(tmp_path / "trace.jsonl", prices) as trace:
        run = made(Listwise).rerank(FIRST, DATA, 30, trace)
    with Trace(tmp_path / "trace.jsonl", prices) as trace:
        again = made(Listwise).rerank(FIRST, DATA, 30, trace)
    assert again.notes == run.notes
    assert RankedList.of(run, "q").spent.cost == pytest.approx(4.0) and RankedList.of(run, "q").spent.seconds == 0


GOLDEN = """\
q  what is it?
pointwise
4 documents; 3 calls: exact 2, failed 1; 1,200 tokens in, 20 out

rank  was      first  score  document

   1    2  ↑1     99     90  d1  All that is known of thingij,
                             told at length.
                             why: It names the law.
                             call 2: exact 1

   2    1  ↓1    100     20  d0  All that is known of thingii,
                             told at length.
                             call 1: exact 1

   3    3  =      98      –  d2  All that is known of thingik,
                             told at length.
                             call 3: failed 1

and 1 more document

call  status  showed   in  out  s  thought
   1  exact        1  600   10
   2  exact        1  600   10     It names the law.
   3  failed       1               timeout: no answer in 600 s"""


def test_explained_for_a_terminal() -> None:
    def answer(prompt: Prompt) -> Completion:
        if NAMES[2] in prompt.messages[1].content:
            return Failed("timeout", "no answer in 600 s")
        second = NAMES[1] in prompt.messages[1].content
        text, why = ("90", "It names the law.") if second else ("20", "")
        return Ok(f"<score>{text}</score>", reasoning=why, usage=Usage(600, 10))

    run = Pointwise(Fake(answer)).rerank(FIRST.top(4), DATA, depth=3)
    ranked = RankedList.of(run, "q", DATA)
    assert ranked.explain(3, width=66) == GOLDEN
    assert "call 2\n  It names the law." in ranked.explain(thoughts=True)
    assert ranked[1].reason == "" and ranked[2].spent.failed == 1


@pytest.mark.parametrize("width", [20, 60, 200])
def test_long_thoughts_many_calls_and_odd_texts_fit(width: int) -> None:
    long = "Passage A is \x1b[31mred\x07. " + "It goes on and on. " * 400 + "[bold]B is[/bold] " + "x" * 300
    llm = Fake(lambda prompt: Ok("A", reasoning=long))
    ranked = Pairwise(llm).rank("why\x1b[2J?", ["one\x1b[31m", "[red]two[/red]", "", *map(str, range(17))])
    for thoughts in (False, True):
        shown = ranked.explain(100, thoughts=thoughts, width=width)
        assert "\x1b" not in shown and "\x07" not in shown
        assert max(map(len, shown.splitlines())) <= width
    assert "[red]two[/red]" in ranked.explain(100, width=200)
    assert len(ranked.explain(10).splitlines()) < 150
    assert f"{len(ranked.calls):,} calls" in ranked.explain(1)


def test_a_reranker_without_a_model_or_calls_is_explained() -> None:
    ranked = Listwise(Fake()).rank("why?", ["alone"])
    assert ranked.explain() == (
        "query  why?\nlistwise(fake())\n1 document\n\nrank  was     document\n\n   1    1  =  0  alone"
    )
    assert "0 documents" in Listwise(Fake()).rank("why?", []).explain()


@dataclass(frozen=True)
class Shortest(Reranker):
    """Asks no model."""

    def _rank(self, requests: Sequence[Request], trace: Trace | None) -> list[Order]:
        lengths = [[-float(len(document.text)) for document in request.documents] for request in requests]
        return [Order(tuple(sorted(range(len(some)), key=lambda at: -some[at])), tuple(some)) for some in lengths]


def test_a_reranker_that_asks_no_model_is_explained() -> None:
    shown = RankedList.of(Shortest().rerank(FIRST, DATA, depth=5), "q", DATA).explain()
    assert "score" in shown and "call" not in shown and "60 documents" in shown and "-45" in shown


def test_to_dict_is_json_and_refers_to_calls() -> None:
    ranked = RankedList.of(made(Pointwise).rerank(FIRST, DATA, depth=5), "q", DATA)
    told = json.loads(json.dumps(ranked.to_dict(3), allow_nan=False))
    assert len(told["documents"]) == 3 and len(told["calls"]) == 5
    for document in told["documents"]:
        assert [told["calls"][at]["shown"] for at in document["calls"]] == [[document["id"]]]
    nan = replace(ranked, items=(replace(ranked[0], score=math.nan),))
    assert nan.to_dict()["documents"][0]["score"] is None and "–" in nan.explain()


def test_runs_without_a_rerankers_notes_are_refused() -> None:
    with pytest.raises(BadInput, match="run 'first' has no reranker's notes on query 'q'"):
        RankedList.of(FIRST, "q")
    run = made(Listwise).rerank(FIRST, DATA, depth=5)
    with pytest.raises(BadInput, match="has no query 'q9'; its 1 queries begin with q"):
        RankedList.of(run, "q9")
    assert len(RankedList.of(run.top(3), "q")) == 3
    far = Run.of({"q": ["d59", "d58"]}, name="far")
    with pytest.raises(BadInput, match="'d58' stands among the reranked documents and was not reranked"):
        RankedList.of(Fusion().of([run.top(5), far]), "q")


def test_explained_from_a_run_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    lines = [json.dumps({"_id": document.id, "text": document.text}) for document in DATA.corpus]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "what is it?"}))
    data, reranker = replace(DATA, name=str(folder)), Listwise(Fake("<think>[2] fits.</think><answer>[2]</answer>"))
    (tmp_path / "first.json").write_text(json.dumps(FIRST.to_dict()))
    done = experiment.rerank(tmp_path / "first.json", reranker, data, tmp_path / "lw", depth=30)
    ranked = experiment.explain(tmp_path / "lw")
    assert [item.id for item in ranked] == list(done.run["q"].ids)
    assert [item.reason for item in ranked] == [item.reason for item in RankedList.of(done.run, "q", DATA)]
    assert ranked[0].text == DATA.corpus[ranked[0].id].text and ranked.query == Query("q", "what is it?")
    assert ranked.name.startswith("listwise(fake(") and all(call.seconds >= 0 for call in ranked.calls)
    assert experiment.open_run(tmp_path / "lw", notes=True).notes == done.run.notes
    again = experiment.rerank(tmp_path / "first.json", reranker, data, tmp_path / "lw", depth=30)
    assert again.run.notes == done.run.notes
    (folder / "corpus.jsonl").unlink()
    assert experiment.explain(tmp_path / "lw", "q")[0].text == ""
