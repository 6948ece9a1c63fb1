"""Every family on real files: how much there is, and that the parts belong together."""

import pytest

from whyrank.datasets import available, load
from whyrank.datasets.bright import LONG_TASKS, TASKS
from whyrank.io import read_qrels


@pytest.fixture(autouse=True)
def local(shared_data, monkeypatch):
    monkeypatch.setenv("WHYRANK_DATA", str(shared_data))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize(
    ("name", "documents", "queries", "judgements"),
    [
        ("beir/scifact", 5183, 300, 339),
        ("beir/nfcorpus", 3395, 323, 12334),
        ("beir/cacm", 3204, 52, 796),
        ("beir/cranfield", 1400, 225, 1837),
        ("beir/vaswani", 11429, 93, 2083),
        ("trec_dl/dl19", 4297, 43, 9260),
        ("trec_dl/dl20", 5396, 54, 11386),
        ("birco/arguana", 3117, 100, 5001),
        ("birco/clinical-trial", 3377, 50, 3591),
        ("noveleval", 420, 21, 420),
    ],
)
def test_counts(name, documents, queries, judgements):
    data = load(name)
    assert data.name == name
    assert len(data.corpus) == documents
    assert len(data.queries) == queries
    assert sum(map(len, data.qrels.values())) == judgements
    assert {query.id for query in data.queries} == set(data.qrels)


def test_splits():
    assert len(load("beir/scifact", split="train").queries) == 809
    assert len(load("beir/nfcorpus", split="dev").queries) == 324
    assert len(load("birco/clinical-trial", split="dev").queries) == 9


def test_contents():
    data = load("beir/scifact")
    assert data.queries[0].text == "0-dimensional biomaterials show inductive properties."
    assert data.corpus["4983"].title.startswith("Microstructural development of human newborn")
    assert data.qrels["1"] == {"31715818": 1}
    assert data.candidates is None


def test_empty_documents_stay():
    assert [document.id for document in load("beir/cranfield").corpus if not document.content.strip()] == ["471", "995"]


@pytest.mark.parametrize(("name", "depth"), [("trec_dl/dl19", 100), ("trec_dl/dl20", 100), ("noveleval", 20)])
def test_candidates_have_text(name, depth):
    data = load(name)
    assert list(data.candidates) == [query.id for query in data.queries]
    for ids, scores in data.candidates.values():
        assert len(ids) == depth == len(scores)
        assert all(data.corpus[id].text for id in ids)


@pytest.mark.parametrize("year", ["dl19", "dl20"])
def test_trec_dl_questions_are_the_topics(shared_data, year):
    lines = (shared_data / "trec_dl" / f"topics.{year}.txt").read_text().splitlines()
    topics = dict(line.split("\t") for line in lines)
    assert all(topics[query.id] == query.text for query in load(f"trec_dl/{year}").queries)


@pytest.mark.parametrize("task", ["arguana", "clinical-trial"])
def test_birco_pools_do_not_give_the_grades_away(task):
    data = load(f"birco/{task}")
    places = [
        rank / len(ids)
        for query, (ids, _) in data.candidates.items()
        for rank, id in enumerate(ids)
        if data.qrels[query][id] > 0
    ]
    assert 0.45 < sum(places) / len(places) < 0.55
    assert {query: set(ids) for query, (ids, _) in data.candidates.items()} == {
        q: set(g) for q, g in data.qrels.items()
    }


QUERIES = {
    "biology": 103, "earth_science": 116, "economics": 103, "psychology": 101, "robotics": 101, "stackoverflow": 117,
    "sustainable_living": 108, "leetcode": 142, "pony": 112, "aops": 111, "theoremqa_questions": 194,
    "theoremqa_theorems": 76,
}  # fmt: skip
EXCLUDED = {"leetcode": 33485, "aops": 622653, "theoremqa_questions": 606523}


def test_bright_has_twelve_tasks():
    assert set(QUERIES) == set(TASKS)
    assert sum(QUERIES.values()) == 1384


@pytest.mark.parametrize("task", TASKS)
def test_bright(shared_data, task):
    data = load(f"bright/{task}")
    assert len(data.queries) == len(data.qrels) == QUERIES[task]
    assert sum(len(query.excluded) for query in data.queries) == EXCLUDED.get(task, 0)
    assert all(grade == 1 for judged in data.qrels.values() for grade in judged.values())
    assert not any(query.excluded & set(data.qrels[query.id]) for query in data.queries)
    shipped = read_qrels(shared_data / "bright" / "qrels" / f"{task}.txt")
    ours = {
        query: {id.replace(" ", "_"): grade for id, grade in judged.items()} for query, judged in data.qrels.items()
    }
    assert ours == {query: dict(judged) for query, judged in shipped.items()}


@pytest.mark.parametrize("task", LONG_TASKS)
def test_bright_long(task):
    short, long = load(f"bright/{task}"), load(f"bright/{task}/long")
    assert long.queries == short.queries
    assert all(long.qrels.values())
    assert long.qrels != short.qrels


def test_bright_shares_what_repeats():
    ids = {}
    for query in load("bright/aops").queries:
        assert all(ids.setdefault(id, id) is id for id in query.excluded)


def test_available(shared_data):
    names = available()
    assert {"toy", "beir/scifact", "trec_dl/dl20", "bright/pony", "bright/pony/long", "birco/arguana"} <= set(names)
    assert "noveleval" in names and "beir/fiqa" not in names
    assert len(names) == len(set(names))
