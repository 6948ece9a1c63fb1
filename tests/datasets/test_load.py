"""`load`: names, folders, candidate files, functions; splits; damaged and missing files."""

import gzip
import json
import warnings

import ir_datasets
import pytest

from whyrank.datasets import available, catalogue, load, roots
from whyrank.errors import BadInput, NotFound
from whyrank.types import Corpus, Dataset, Document


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """No data roots but an empty one, no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WHYRANK_DATA", str(tmp_path / "root"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


CORPUS = '{"_id": "d1", "title": "One", "text": "first"}\n{"_id": "d2", "title": "", "text": ""}\n'
QUERIES = (
    '{"_id": "q1", "text": "why"}\n{"_id": "q2", "text": "how", "excluded_ids": ["d2"]}\n{"_id": "q3", "text": "who"}\n'
)
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq2\td2\t0\n"


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "mine")


def write(place):
    (place / "qrels").mkdir(parents=True)
    (place / "corpus.jsonl").write_text(CORPUS)
    (place / "queries.jsonl").write_text(QUERIES)
    (place / "qrels" / "test.tsv").write_text(QRELS)
    return place


def test_roots_in_order(monkeypatch, tmp_path):
    monkeypatch.setenv("WHYRANK_DATA", "one:~/two")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert [str(root) for root in roots()] == [
        "one",
        str(tmp_path / "two"),
        "data",
        str(tmp_path / "cache" / "whyrank" / "data"),
    ]


def test_a_folder(folder):
    data = load("./mine")
    assert data.name == "mine"
    assert [document.id for document in data.corpus] == ["d1", "d2"]
    assert data.corpus["d1"].content == "One first"
    assert [query.id for query in data.queries] == ["q1", "q2"]
    assert data.queries[1].excluded == {"d2"}
    assert data.qrels["q1"] == {"d1": 2}
    assert data.candidates is None
    assert load(folder).queries == data.queries


def test_a_folder_whose_judgements_are_of_other_queries(folder):
    (folder / "queries.jsonl").write_text('{"_id": "PLAIN-1", "text": "why"}\n')
    with pytest.raises(BadInput, match=r"none of its 1 queries is judged: queries.jsonl has 'PLAIN-1', .* have 'q1'"):
        load("./mine")


def test_gzip_and_a_run(folder):
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        path = folder / name
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    (folder / "run.trec").write_text("q1 Q0 d2 1 2.5 x\nq1 Q0 d1 2 1.5 x\n")
    data = load(folder)
    assert len(data.corpus) == 2 and len(data.queries) == 2
    assert data.candidates["q1"].ids == ["d2", "d1"]


def test_without_judgements_all_queries_stay(folder):
    (folder / "qrels" / "test.tsv").unlink()
    data = load(folder)
    assert len(data.queries) == 3 and len(data.qrels) == 0


def test_splits(folder):
    (folder / "qrels" / "test.tsv").rename(folder / "qrels" / "dev.tsv")
    assert len(load(folder).queries) == 2  # the only split
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq3\td1\t1\n")
    assert [query.id for query in load(folder, split="train").queries] == ["q3"]
    with pytest.raises(BadInput, match=r"mine has no split 'test': there are dev, train"):
        load(folder)


def test_a_split_where_there_are_none(folder):
    (folder / "qrels" / "test.tsv").unlink()
    with pytest.raises(BadInput, match=r"no split 'dev': there are no files qrels/\*.tsv"):
        load(folder, split="dev")


def test_a_folder_without_a_collection(folder):
    (folder / "corpus.jsonl").unlink()
    with pytest.raises(NotFound, match=r"no corpus.jsonl in .*mine: a data folder has corpus.jsonl \(or .tsv, .csv"):
        load(folder)


@pytest.mark.parametrize("judged", [True, False])
def test_a_folder_without_queries(folder, judged):
    (folder / "queries.jsonl").unlink()
    if not judged:
        (folder / "qrels" / "test.tsv").unlink()
    data = load(folder)
    assert data.queries == () and len(data.corpus) == 2 and len(data.qrels) == (2 if judged else 0)


# --- judgements, and what lies beside them

STRAY = ("test.tsv.bak", "test.tsv~", "._test.tsv", ".test.tsv.swp", "test.tsv.orig", "#test.tsv#", "test.tsv.gz.part")


@pytest.mark.parametrize("name", STRAY)
def test_stray_files_are_no_splits(folder, name):
    (folder / "qrels" / name).write_text("query-id\tcorpus-id\tscore\nq3\td1\t1\n")
    assert set(load(folder).qrels) == {"q1", "q2"}
    (folder / "qrels" / "test.tsv").rename(folder / "qrels" / "dev.tsv")
    assert set(load(folder).qrels) == {"q1", "q2"}  # still the only split
    (folder / "qrels" / "dev.tsv").unlink()
    assert len(load(folder).qrels) == 0


def test_versions_are_splits_of_their_own_and_twins_are_refused(folder):
    for name in ("test.v1.tsv", "test.v2.tsv"):
        (folder / "qrels" / name).write_text(f"query-id\tcorpus-id\tscore\nq3\t{name}\t1\n")
    assert set(load(folder).qrels) == {"q1", "q2"}
    assert load(folder, split="test.v2").qrels == {"q3": {"test.v2.tsv": 1}}
    with pytest.raises(BadInput, match=r"no split 'v1': there are test, test.v1, test.v2"):
        load(folder, split="v1")
    for twin in ("test.txt", "test.tsv.gz"):
        (folder / "qrels" / twin).write_bytes(b"")
        with pytest.raises(BadInput, match=r"test.t.*test.t.* in qrels/ are both of the split 'test': keep one"):
            load(folder)
        (folder / "qrels" / twin).unlink()


def test_judgements_of_trec_are_read(folder):
    (folder / "qrels" / "test.tsv").unlink()
    (folder / "qrels" / "test.txt").write_text("q1 0 d1 2\nq3 0 d2 1\n")
    assert load(folder).qrels == {"q1": {"d1": 2}, "q3": {"d2": 1}}


def test_judged_documents_that_the_collection_lacks_are_told(folder):
    (folder / "qrels" / "test.tsv").write_text(QRELS + "q1\tgone\t1\nq2\tlost\t0\nq3\tgone\t2\n")
    data = load(folder)
    told = r"mine: the collection lacks 2 of 4 judged documents, 1 of them relevant, such as 'gone': nothing finds them"
    with pytest.warns(UserWarning, match=told):
        assert len(data.corpus) == 2
    (folder / "qrels" / "test.tsv").write_text(QRELS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load(folder).corpus) == 2


# --- other forms


def test_two_forms_of_one_thing_are_refused(folder):
    (folder / "corpus.tsv").write_text("d1\tfirst\n")
    with pytest.raises(BadInput, match=r"corpus.jsonl and corpus.tsv say the same thing twice: keep one"):
        load(folder)
    (folder / "corpus.tsv").unlink()
    (folder / "corpus.jsonl.gz").write_bytes(b"")  # the same, compressed: what is there plainly is read
    assert len(load(folder).corpus) == 2


def test_ms_marcos_files_are_a_folder(tmp_path):
    (tmp_path / "collection.tsv").write_text('7\tThe "presence" of\n8\tminds\n')
    (tmp_path / "topics.tsv").write_text("1\twhy\n2\thow\n")
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "dev.tsv").write_text("1\t0\t8\t1\n")
    data = load(tmp_path)
    assert [(one.id, one.text) for one in data.corpus] == [("7", 'The "presence" of'), ("8", "minds")]
    assert [query.id for query in data.queries] == ["1"] and data.qrels == {"1": {"8": 1}}


def test_texts_are_a_folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "a.txt").write_text("first\n\nsecond\n")
    (tmp_path / "sub" / "b.md").write_text("# Head\ntext\n")
    (tmp_path / "c.pdf").write_bytes(b"%PDF\xff")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / ".hidden" / "d.txt").write_text("no")
    data = load(tmp_path)
    assert [(one.id, one.title, one.text) for one in data.corpus] == [
        ("a.txt", "", "first\n\nsecond\n"),
        ("sub/b.md", "Head", "text\n"),
    ]
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    with pytest.raises(BadInput, match=r"a.txt:1: byte 0xe9 is not valid UTF-8"):
        len(load(tmp_path).corpus)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("papers.csv", 'doc_id,title,body,year\nd1,One,"first, and\n\nmore",1927\nd2,,"",\n'),
        ("papers.tsv", "title\tid\ttext\nOne\td1\tfirst\n\td2\t\n"),
        ("papers.jsonl", CORPUS),
        ("papers.json", json.dumps([{"id": "d1", "text": "first"}, {"id": "d2", "text": ""}])),
        ("collection", "d1\tfirst\nd2\t\n"),
    ],
)
def test_a_collection_as_one_file(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    data = load(tmp_path / name)
    assert [one.id for one in data.corpus] == ["d1", "d2"] and data.corpus["d1"].text.startswith("first")
    assert data.queries == () and not data.qrels
    with pytest.raises(BadInput, match="is a collection and has no split 'dev'"):
        load(tmp_path / name, split="dev")


@pytest.mark.parametrize(
    ("name", "added", "told"),
    [
        ("queries.jsonl", '{"_id": "q4", "te', r"queries.jsonl:4"),
        ("qrels/test.tsv", "q2\td1\tmuch\n", r"test.tsv:4"),
        ("corpus.jsonl", '{"_id": "d3", "text": "x"\n', r"corpus.jsonl:3"),
        ("corpus.jsonl", '{"_id": "d1", "text": "x"}\n', r"'d1'"),
    ],
)
def test_damaged_lines_are_told_with_file_and_line(folder, name, added, told):
    with (folder / name).open("a") as file:
        file.write(added)
    with pytest.raises(BadInput, match=told):
        list(load(folder).corpus)


def test_evaluation_does_not_read_the_collection(folder):
    (folder / "corpus.jsonl").write_text("damaged")
    assert len(load(folder).qrels) == 2


def test_any_folder_beside_beir(tmp_path):
    write(tmp_path / "root" / "beir" / "mine")
    write(tmp_path / "data" / "beir" / "group" / "other")
    assert load("beir/mine").name == "beir/mine"
    assert len(load("beir/group/other").corpus) == 2
    assert {"beir/mine", "beir/group/other"} <= set(available())


def test_where_queries_are_documents_none_finds_itself(tmp_path):
    write(tmp_path / "root" / "beir" / "arguana")
    write(tmp_path / "root" / "beir" / "nfcorpus")
    assert [query.excluded for query in load("beir/arguana").queries] == [{"q1"}, {"q2", "d2"}]
    assert [query.excluded for query in load("beir/nfcorpus").queries] == [frozenset(), {"d2"}]


def test_the_first_root_wins(tmp_path, monkeypatch):
    write(tmp_path / "root" / "beir" / "scifact")
    far = write(tmp_path / "far" / "beir" / "scifact")
    (far / "qrels" / "test.tsv").write_text("q3\t0\td1\t1\n")
    assert len(load("beir/scifact").queries) == 2
    monkeypatch.setenv("WHYRANK_DATA", f"{tmp_path / 'far'}:{tmp_path / 'root'}")
    assert len(load("beir/scifact").queries) == 1


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("toys", r"no data set, folder or file 'toys': did you mean 'toy'\?"),
        ("beir/scifcat", r"no data set 'beir/scifcat': did you mean 'beir/scifact'\?"),
        ("trec_dl/dl_19", r"did you mean 'trec_dl/dl19'\?"),
        ("bier/scifact", r"did you mean 'beir/scifact'\?"),
        ("beir", r"no data set 'beir'"),
        (
            "./elsewhere",
            r"names begin with toy, beir, trec_dl, bright, birco, noveleval, movielens, p5, world; a folder needs",
        ),
        ("bright", r"no data set 'bright': write bright/aops, bright/biology, "),
        ("beir/", r"no data set 'beir': write beir/arguana, "),
        ("toy/more", r"no data set 'toy/more'; known are toy"),
    ],
)
def test_unknown_names(name, told):
    with pytest.raises(NotFound, match=told):
        load(name)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("beir/fiqa", "put corpus.jsonl, queries.jsonl and qrels/test.tsv into beir/fiqa/"),
        ("trec_dl/dl19", r"put dl19.bm25.top100.json .* and qrels.dl19.txt into trec_dl/"),
        ("birco/relic", "put corpus.jsonl, queries.jsonl and pool_qrels.tsv into birco/relic/test/"),
        ("noveleval", "put data.json and qrels.txt into noveleval/"),
    ],
)
def test_without_network_one_sentence_says_what_to_put_where(name, what, tmp_path):
    with pytest.raises(NotFound, match=f"{name} is not on this machine.*: {what} under one of the data roots") as error:
        load(name)
    assert str(tmp_path / "root") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_network_that_fails(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")

    def fail(*_):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(type(ir_datasets.registry["beir/fiqa/test"]), "qrels_iter", fail, raising=False)
    with pytest.raises(NotFound, match=r"cannot be fetched \(ConnectionError: no route to host\): put corpus.jsonl"):
        load("beir/fiqa")


def test_without_ir_datasets(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ir_datasets", None)
    with pytest.raises(NotFound, match=r"beir/fiqa is not .* pip install 'whyrank\[data\]'"):
        load("beir/fiqa")


def test_a_split_that_ir_datasets_does_not_have():
    with pytest.raises(BadInput, match=r"no 'beir/fiqa/holdout' with judgements"):
        load("beir/fiqa", split="holdout")


def test_every_beir_name_is_in_ir_datasets():
    beir = catalogue.FAMILIES["beir"].members
    assert all(f"beir/{name}" in ir_datasets.registry for name in beir)
    tested = [n for n in beir if any(i in ir_datasets.registry and ir_datasets.registry[i].has_qrels()
                                     for i in (f"beir/{n}/test", f"beir/{n}"))]  # fmt: skip
    assert tested == list(beir)


@pytest.fixture
def fetched(monkeypatch, tmp_path):
    """ir_datasets' own reader over local files, in place of a collection that it would download."""
    (tmp_path / "docs.tsv").write_text("d1\tfirst\nd2\tsecond\n")
    (tmp_path / "queries.tsv").write_text("q1\twhy\nq2\thow\n")
    (tmp_path / "qrels").write_text("q1 0 d1 2\nq1 0 d2 0\n")
    source = ir_datasets.create_dataset(
        docs_tsv=str(tmp_path / "docs.tsv"),
        queries_tsv=str(tmp_path / "queries.tsv"),
        qrels_trec=str(tmp_path / "qrels"),
    )
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(
        ir_datasets, "registry", {"beir/fiqa/test": source, "msmarco-passage/trec-dl-2019/judged": source}
    )


@pytest.mark.parametrize("name", ["beir/fiqa", "trec_dl/dl19"])
def test_through_ir_datasets(fetched, name):
    data = load(name)
    assert data.name == name
    assert [(document.id, document.text) for document in data.corpus] == [("d1", "first"), ("d2", "second")]
    assert [(query.id, query.text) for query in data.queries] == [("q1", "why")]
    assert data.qrels["q1"] == {"d1": 2, "d2": 0}


OLD = [
    {"query": "why", "hits": [
        {"qid": 7, "docid": 1, "content": "first", "rank": 1, "score": 2.0},
        {"qid": 7, "docid": 2, "content": "second", "rank": 2, "score": 1.0},
    ]},
    {"query": "how", "hits": [{"qid": 8, "docid": 1, "content": "first", "rank": 1, "score": 3.0}]},
]  # fmt: skip
NEW = [
    {"query": {"qid": "7", "text": "why"}, "candidates": [
        {"docid": "1", "score": 2.0, "doc": {"contents": "first"}},
        {"docid": "2", "score": 1.0, "doc": {"segment": "second", "title": ""}},
    ]},
    {"query": {"qid": "8", "text": "how"}, "candidates": [{"docid": "1", "score": 3.0, "doc": "first"}]},
]  # fmt: skip


@pytest.mark.parametrize("records", [OLD, NEW], ids=["old", "new"])
@pytest.mark.parametrize("name", ["pool.json", "pool.jsonl", "pool.jsonl.gz", "pool.json.gz"])
def test_rank_llm_candidates(tmp_path, records, name):
    text = "\n".join(map(json.dumps, records)) if "jsonl" in name else json.dumps(records, indent=1)
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    data = load(tmp_path / name)
    assert [(query.id, query.text) for query in data.queries] == [("7", "why"), ("8", "how")]
    assert [(document.id, document.content) for document in data.corpus] == [("1", "first"), ("2", "second")]
    assert data.candidates.to_dict() == {"7": {"1": 2.0, "2": 1.0}, "8": {"1": 3.0}}
    assert len(data.qrels) == 0


def test_judgements_beside_candidates(tmp_path):
    (tmp_path / "pool.bm25.json").write_text(json.dumps(OLD))
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n7\t2\t1\n8\t1\t1\n")
    assert len(load("pool.bm25.json").queries) == 2
    (tmp_path / "qrels.pool.txt").write_text("7 0 2 3\n")
    data = load("pool.bm25.json")
    assert [query.id for query in data.queries] == ["7"] and data.qrels["7"] == {"2": 3}
    assert len(load("pool.bm25.json", split="test").queries) == 2
    with pytest.raises(BadInput, match="has no split 'dev'"):
        load("pool.bm25.json", split="dev")


def test_scores_that_rise_give_way_to_the_order(tmp_path):
    hits = [{"qid": 7, "docid": id, "content": id, "score": score} for id, score in (("a", 1.0), ("b", 2.0))]
    (tmp_path / "pool.json").write_text(json.dumps([{"query": "why", "hits": hits}]))
    assert load("pool.json").candidates["7"].ids == ["a", "b"]
    assert load("pool.json").candidates["7"].scores.tolist() == [2, 1]


CLASH = {"query": "x", "hits": [{"qid": 9, "docid": 1, "content": "other", "score": 1}]}
NO_TEXT = {"query": {"qid": "1", "text": "x"}, "candidates": [{"docid": "1", "score": 1, "doc": {}}]}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[{"query": "why",\n "hits": [', r"pool.json:2: not JSON"),
        ('[\n\n\n{"query": "why",\n\n "hits": [', r"pool.json:6: not JSON"),
        ("", r"pool.json"),
        ("\n\n", r"pool.json:1: not JSON"),
        ('{"a": 1}', r"pool.json: expected a JSON array"),
        ('[{"query": "why", "hits": []}]', r"pool.json, record 1: no query with candidates"),
        (json.dumps([OLD[0], {"hits": OLD[1]["hits"]}]), r"record 2: .*'query'"),
        (json.dumps([OLD[0], OLD[0]]), r"record 2: query '7' occurs twice"),
        (json.dumps([*OLD, CLASH]), "document '1' stands for two different texts"),
        (json.dumps([NO_TEXT]), "none of the fields"),
        ("[7]", r"record 1: expected a JSON object, found 7"),
    ],
)
def test_damaged_candidates(tmp_path, text, told):
    (tmp_path / "pool.json").write_text(text)
    with pytest.raises(BadInput, match=told):
        load("pool.json")


def test_damaged_candidate_lines(tmp_path):
    (tmp_path / "pool.jsonl").write_text(json.dumps(OLD[0]) + "\n{\n")
    with pytest.raises(BadInput, match=r"pool.jsonl:2"):
        load("pool.jsonl")


MODULE = """
from whyrank.types import Corpus, Dataset, Document
def data(split="test"):
    return Dataset(split, Corpus([Document("a", "x")]))
def number():
    return 7
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "their_package.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_function_of_another_package(package):
    assert load("their_package:data").name == "test"
    assert load("their_package:data", split="dev").name == "dev"
    with pytest.raises(BadInput, match="returns a int"):
        load("their_package:number")
    for wrong in ("their_package:nothing", "no_such_package:data"):
        with pytest.raises(NotFound, match=f"no data set '{wrong}'"):
            load(wrong)


def test_an_entry_point(package, monkeypatch):
    monkeypatch.setattr(catalogue, "_entry_points", lambda: {"theirs": "their_package:data"})
    assert load("theirs").name == "test"
    assert "theirs" in available()
    with pytest.raises(NotFound, match="did you mean 'theirs'"):
        load("theirz")


def test_an_installed_entry_point(package, tmp_path):
    info = tmp_path / "theirs-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[whyrank.datasets]\ntheirs/one = their_package:data\n")
    assert isinstance(load("theirs/one"), Dataset)


def test_a_dataset_needs_no_loader():
    assert len(Dataset("mine", Corpus([Document("a", "x")])).corpus) == 1


# --- BIRCO, with the fractions of DORIS-MAE


def test_a_pool_of_one_split_and_fractional_grades(tmp_path):
    place = tmp_path / "root" / "birco" / "doris-mae" / "dev"
    place.mkdir(parents=True)
    (place / "corpus.jsonl").write_text(CORPUS)
    (place / "queries.jsonl").write_text(QUERIES)
    (place / "pool_qrels.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq1\td1\t0.4\nq1\td2\t0.043478260869565216\nq2\td2\t1\n"
    )
    for split in (None, "dev"):
        data = load("birco/doris-mae", split=split)
        assert data.qrels["q1"] == {"d1": 0.4, "d2": 1 / 23} and sorted(data.candidates["q1"].ids) == ["d1", "d2"]
    assert "birco/doris-mae" in available()
    with pytest.raises(BadInput, match="'birco/doris-mae' has no split 'test': there are dev"):
        load("birco/doris-mae", split="test")
    with pytest.raises(NotFound, match=r"put corpus.jsonl, queries.jsonl and pool_qrels.tsv into birco/relic/test/"):
        load("birco/relic")
