"""`tree(llm)` with scripted models and, under the marker `engines`, with real ones."""

import json
import re
import subprocess
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from by_words import ByWords

from whyrank import Document, Fake, Query, Sampling, Trace, load, make
from whyrank.errors import BadIndex, BadInput
from whyrank.llm.answer import Failed, Ok
from whyrank.llm.engine import LLM
from whyrank.retrieval.tree.index import ShownIndex
from whyrank.retrieval.tree.retriever import Tree
from whyrank.retrieval.tree.summaries import Extractive, Written
from whyrank.testing import DOCUMENTS, check_retriever

engines = pytest.mark.engines
ENTRY = re.compile(r"^\[(\d+)\] (.*)$", re.MULTILINE)


def entries(prompt):
    """The query and the candidates that a prompt shows."""
    text = prompt.messages[-1].content
    return text.removeprefix("Query: ").partition("\n")[0], [entry for _, entry in ENTRY.findall(text)]


def answer(scores):
    return json.dumps({"reasoning": "because", "scores": {str(at): score for at, score in enumerate(scores, 1)}})


def words(text):
    return set(re.findall(r"\w+", text.lower()))


def overlap(prompt):
    """Scores a candidate by the share of the query's words in it."""
    query, candidates = entries(prompt)
    wanted = words(query) or {"nothing"}
    return answer([round(100 * len(wanted & words(candidate)) / len(wanted)) for candidate in candidates])


@dataclass(frozen=True)
class Overlap(LLM):
    """A model that can stand in a spec."""

    model: str = "overlap"
    asked: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    async def _generate(self, prompts: Sequence):
        self.asked.extend(prompt.messages[-1].content for prompt in prompts)
        return [Ok(overlap(prompt)) for prompt in prompts]


def small(llm, **rest):
    return Tree(llm, encoder=ByWords("words"), **{"branching": 4, **rest})


def opened(path):
    return Tree.open(path, Overlap(), encoder=ByWords("words"))


@pytest.fixture(scope="module")
def toy():
    return load("toy")


@pytest.mark.parametrize("build", ["bottom_up", "top_down"])
def test_it_keeps_the_contract(build):
    check_retriever(small(Overlap(), build=build, iterations=100, alpha=1.0, anchors=0, ridge=1e9))


def oracle(tree, target):
    """A function that knows where a document is: what lies on the way to it is worth 90, the document itself 100."""
    index = tree._held
    leaf = index.places[target]
    shown = ShownIndex(index, (), {}, Extractive())
    worth = {" ".join(shown.text(node).split())[:80]: 90 for node in index.shape.above(leaf)}
    worth[" ".join(shown.text(leaf).split())[:80]] = 100

    def say(prompt):
        return answer([worth.get(candidate[:80], 5) for candidate in entries(prompt)[1]])

    return say


@pytest.mark.parametrize("build", ["bottom_up", "top_down"])
def test_a_scripted_oracle_walks_to_the_right_leaf(toy, build):
    built = small(Fake(), build=build).index(toy.corpus)
    depth = int(built._held.shape.depths.max())
    for query in toy.queries:
        target = next(id for id, grade in toy.qrels[query.id].items() if grade > 0)
        walking = replace(built, llm=Fake(oracle(built, target)), beam=1, iterations=depth)
        object.__setattr__(walking, "_held", built._held)
        run = walking.search([query], k=3)
        assert run[query.id].ids[0] == target
        calls = run.notes[query.id].calls
        assert len(calls) <= depth < len(toy.corpus) / 4
        assert {call.status for call in calls} == {"exact"}
        assert calls[0].thought == "because"


@pytest.mark.parametrize("build", ["bottom_up", "top_down"])
def test_nothing_of_an_excluded_document_is_shown(toy, build):
    """Each document has a word of its own, which must not turn up in any prompt of a query that excludes it."""
    own = {document.id: f"secret{chr(97 + at // 10)}{chr(97 + at % 10)}" for at, document in enumerate(toy.corpus)}
    documents = [Document(document.id, f"{document.text} {own[document.id]} here.") for document in toy.corpus]
    llm = Overlap()
    tree = small(llm, build=build, iterations=1000, max_passage_tokens=4000).index(documents)
    seen = set(tree.search([Query("q", "water")], k=1000)["q"].ids)
    assert seen == set(own)
    assert all(any(word in text for text in llm.asked) for word in own.values())
    for start in range(0, len(documents), 16):
        banned = frozenset(d.id for d in documents[start : start + 16])
        llm.asked.clear()
        found = tree.search([Query("q", "water", banned)], k=1000)["q"].ids
        assert set(found) == seen - banned
        assert not any(own[id] in text for text in llm.asked for id in banned)
    assert len(tree.search([Query("q", "water", frozenset(own))], k=5)["q"].ids) == 0


def test_written_summaries_are_shown_but_not_where_a_document_is_excluded(toy):
    writer = Fake(lambda prompt: f"WRITTEN of {len(ENTRY.findall(prompt.messages[-1].content))} parts")
    llm = Overlap()
    tree = small(llm, summaries=Written(writer), iterations=3).index(toy.corpus)
    assert tree._held.about["calls"] == {"exact": len(tree._held.written)}
    tree.search([Query("q", "water")])
    assert all("WRITTEN of" in text for text in llm.asked if "Group of" in text)
    llm.asked.clear()
    (root,) = [tree._held.shape.root]
    few = [int(tree._held.shape.children(node)[0]) for node in range(len(toy.corpus), root)]
    leaves = frozenset(tree._held.ids[node] for node in few if node < len(toy.corpus))
    tree.search([Query("q", "water", leaves)])
    assert llm.asked and not any("WRITTEN of" in text for text in llm.asked)


def test_a_failed_summary_falls_back_and_is_counted(toy):
    def write(prompt):
        return Failed("refusal", "no") if "salt" in prompt.messages[-1].content else "A summary."

    index = small(Overlap(), summaries=Written(Fake(write))).index(toy.corpus)._held
    calls = index.about["calls"]
    assert calls["failed"] + calls["exact"] == len(index.written) and calls["failed"] and calls["exact"]
    told = [index.tell(node, Extractive()) for node in range(len(toy.corpus), len(index.shape.parents))]
    assert sum(text == "A summary." for text in told) == calls["exact"]
    assert sum(text.startswith("About: ") for text in told) == calls["failed"]


def test_a_stopped_build_repeats_no_call(toy, tmp_path):
    asked = []

    def write(prompt):
        if len(asked) == 12:
            raise KeyboardInterrupt
        asked.append(prompt.messages[-1].content)
        return "A summary of " + asked[-1][:40]

    path = tmp_path / "tree"
    with pytest.raises(KeyboardInterrupt):
        small(Overlap(), summaries=Written(Fake(write, concurrency=1)), path=path).index(toy.corpus)
    assert not path.exists()
    before = list(asked)
    asked += ["room for more"] * 20
    tree = small(Overlap(), summaries=Written(Fake(write, concurrency=1)), path=path).index(toy.corpus)
    assert not set(asked[32:]) & set(before)
    assert len(asked) - 20 == len(tree._held.written)
    again = small(Overlap(), summaries=Written(Fake()), path=path)
    assert again.search(toy.queries[:2]) == tree.search(toy.queries[:2])


def test_a_stopped_search_repeats_no_call(toy, tmp_path):
    tree = small(Overlap()).index(toy.corpus)
    with Trace(tmp_path / "trace.jsonl") as trace:
        first = tree.search(toy.queries[:3], trace=trace)
    tree.llm.asked.clear()
    with Trace(tmp_path / "trace.jsonl") as trace:
        assert tree.search(toy.queries[:5], trace=trace).only({q.id for q in toy.queries[:3]}) == first
    again = len(tree.llm.asked)
    tree.llm.asked.clear()
    tree.search(toy.queries[3:5])
    assert again == len(tree.llm.asked) > 0


def test_saved_and_opened_it_is_the_same(toy, tmp_path):
    tree = small(Overlap(), path=tmp_path / "tree").index(toy.corpus)
    queries = toy.queries[:3]
    found = tree.search(queries)
    assert opened(tmp_path / "tree") == tree
    assert opened(tmp_path / "tree").search(queries) == found
    assert small(Overlap(), path=tmp_path / "tree").search(queries) == found
    tree.save(tmp_path / "copy")
    (tmp_path / "copy").rename(tmp_path / "moved")
    assert opened(tmp_path / "moved").search(queries) == found
    assert Tree.open(tmp_path / "moved", trust=True) == Tree.open(
        tmp_path / "moved", Overlap(), encoder=ByWords("words")
    )
    with pytest.raises(BadIndex, match="not empty"):
        tree.save(tmp_path / "moved")


def test_a_damaged_or_foreign_folder_is_refused(toy, tmp_path):
    for name in ("parents.npy", "sketches.npy", "ids.json", "index.json"):
        path = tmp_path / name.replace(".", "-")
        small(Overlap()).index(toy.corpus).save(path)
        data = bytearray((path / name).read_bytes())
        data[len(data) // 2] ^= 1
        (path / name).write_bytes(bytes(data))
        with pytest.raises(BadIndex, match=re.escape(str(path))):
            opened(path)
    small(Overlap()).index(toy.corpus).save(tmp_path / "good")
    for other in ({"branching": 5}, {"build": "top_down"}, {"summaries": Written(Fake())}):
        with pytest.raises(BadIndex, match=next(iter(other))):
            small(Overlap(), path=tmp_path / "good", **other).search(toy.queries)
    small(Fake(overlap)).index(toy.corpus).save(tmp_path / "function")
    with pytest.raises(BadIndex, match=r"tree\(llm, path"):
        Tree.open(tmp_path / "function", trust=True)
    with pytest.raises(BadIndex, match=r"a file chooses no model: give one, Tree\.open\("):
        Tree.open(tmp_path / "function")


@pytest.mark.parametrize("build", ["bottom_up", "top_down"])
def test_appended_documents_are_found_and_nothing_is_lost(toy, tmp_path, build):
    documents = list(toy.corpus)
    tree = small(Overlap(), build=build, iterations=1000).index(documents[:30])
    both = tree.append(documents[30:])
    both.save(tmp_path / "both")
    for each in (both, opened(tmp_path / "both")):
        shape = each._held.shape
        assert max(len(shape.children(node)) for node in range(shape.leaves, len(shape.parents))) <= 4
        assert set(each.search(toy.queries[:1], k=100)[toy.queries[0].id].ids) == {d.id for d in documents}
    assert len(tree._held.ids) == 30
    with pytest.raises(BadInput, match="twice"):
        both.append(documents[:1])
    with pytest.raises(BadInput, match="twice"):
        tree.append([documents[40], documents[40]])
    assert tree.append([]) is tree


def test_appending_tells_only_the_clusters_on_the_way_anew(toy):
    writer = Fake(lambda prompt: "Summary of " + prompt.messages[-1].content[:60])
    tree = small(Overlap(), summaries=Written(writer)).index(toy.corpus)
    with Trace() as trace:
        larger = tree.append([Document("new", "Bees dance to tell where the flowers are.")], trace)
    shape = larger._held.shape
    on_the_way = shape.above(larger._held.places["new"])
    assert len(on_the_way) <= trace.ledger.total.calls <= 2 * len(on_the_way) + 1
    assert all(larger._held.written) and len(larger._held.written) >= len(tree._held.written)


@pytest.mark.parametrize(("bound", "most"), [({"calls": 3}, 3), ({"tokens": 2000}, 8), ({"iterations": 2}, 3)])
def test_a_query_keeps_its_budget(toy, bound, most):
    llm = Fake(overlap)
    tree = small(llm, **bound).index(toy.corpus)
    notes = tree.search(toy.queries[:4]).notes
    counts = [len(note.calls) for note in notes.values()]
    assert all(0 < count <= most for count in counts)
    free = small(llm).index(toy.corpus).search(toy.queries[:1]).notes
    assert len(next(iter(free.values())).calls) > most


def test_calls_that_fail_or_babble_lose_no_document(toy):
    def say(prompt):
        turn = zlib.crc32(prompt.messages[-1].content.encode()) % 3
        return (Failed("refusal", "no"), "bees!", overlap(prompt))[turn]

    tree = small(Fake(say), iterations=1000).index(toy.corpus)
    run = tree.search(toy.queries[:2], k=100)
    for query in toy.queries[:2]:
        assert set(run[query.id].ids) == {d.id for d in toy.corpus}
        assert {call.status for call in run.notes[query.id].calls} == {"exact", "no_answer", "failed"}


def test_the_relevance_that_is_asked_for_is_told(toy):
    asked = []
    fake = Fake(lambda prompt: asked.append(prompt.chat[0]["content"]) or overlap(prompt))
    small(fake, relevance="the same theorem", calls=1).index(toy.corpus).search(toy.queries[:1])
    small(fake, calls=1).index(toy.corpus).search(toy.queries[:1])
    assert "What counts as relevant here: the same theorem\n" in asked[0]
    assert "What counts" not in asked[1]


def test_specs():
    spec = "tree(fake(), path='idx', encoder=dense('minilm', path='vectors'), summaries=written(fake('x')), beam=3)"
    tree = make(spec)
    assert make(repr(tree)) == tree and tree.summaries.llm == Fake("x") and tree.encoder.path == "vectors"
    for wrong in ({"branching": 1}, {"beam": 0}, {"alpha": 2.0}, {"tokens": 0}, {"build": "sideways"}):
        with pytest.raises(BadInput, match=next(iter(wrong))):
            Tree(Fake(), **wrong)
    with pytest.raises(BadInput, match="no tree yet"):
        Tree(Fake()).search([Query("q", "bees")])
    for wrong in ({"terms": 0}, {"quotes": -1}):
        with pytest.raises(BadInput, match="extractive"):
            Extractive(**wrong)


def test_it_loads_light():
    code = "import sys, whyrank.retrieval.tree.retriever; print([m for m in ('torch', 'scipy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@engines
def test_a_scripted_oracle_walks_a_tree_of_minilm(toy):
    built = Tree(Fake()).index(toy.corpus)
    query = toy.queries[0]
    target = next(iter(toy.qrels[query.id]))
    walking = replace(built, llm=Fake(oracle(built, target)), beam=1, iterations=3)
    object.__setattr__(walking, "_held", built._held)
    assert walking.search([query], k=1)[query.id].ids == [target]


def test_the_collection_of_the_contract_goes_through():
    found = small(Overlap(), iterations=100).index(DOCUMENTS).search([Query("q", "bees dance")], k=100)["q"].ids
    assert sorted(found) == sorted(document.id for document in DOCUMENTS)


def test_thinking_is_kept_apart_from_the_answer(toy):
    def say(prompt):
        number = len(entries(prompt)[1])
        return Ok(
            '{"reasoning": "r \\"q\\"", "scores": {' + ", ".join(f'"{at}": 50' for at in range(1, number + 1)) + "}}"
        )

    note = small(Fake(say), calls=1, sampling=Sampling(max_tokens=99)).index(toy.corpus).search(toy.queries[:1]).notes
    assert next(iter(note.values())).calls[0].thought == 'r "q"'
