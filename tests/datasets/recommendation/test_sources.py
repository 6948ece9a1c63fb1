"""Sources of recommendation data: what each file becomes, and what is wrong with damaged ones, file and line."""

import pytest
import shop

from whyrank.datasets import load
from whyrank.datasets.recommendation.log import document
from whyrank.errors import BadInput, BadSpec, NotFound
from whyrank.registry import make


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def table(*rows, head="user,item,time", name="clicks.csv"):
    with open(name, "w") as file:
        file.write("\n".join([head, *rows]) + "\n")


GOOD = ("a,x,1", "a,y,2", "a,z,3", "b,x,1", "b,z,2", "b,y,3")


def test_a_table_becomes_queries_with_histories():
    table(*GOOD)
    with open("items.csv", "w") as file:
        file.write('item,brand,name\nx,,"Exlibris, the first"\nz,Zed,Zebra\nw,,Never bought\n')
    data = load("interactions('clicks.csv', items='items.csv')")
    first, second = data.queries
    assert (first.id, second.id) == ("ua", "ub")
    assert [tuple(event) for event in first.history] == [("x", 1.0, None), ("y", 2.0, None)]
    assert first.excluded == {"x", "y"}
    assert first.text == "1. Exlibris, the first\n2. y\nThe latest was y."
    assert {query: dict(judged) for query, judged in data.qrels.items()} == {"ua": {"z": 1}, "ub": {"y": 1}}
    assert [one.id for one in data.corpus] == ["x", "y", "z", "w"]
    assert data.corpus["z"].content == "Zebra brand: Zed"
    assert data.corpus.train.codes.tolist() == [0, 0]


def test_dev_asks_for_the_event_before_and_learns_from_the_same():
    table(*GOOD)
    test, dev = load("interactions('clicks.csv')"), load("interactions('clicks.csv')", split="dev")
    assert dict(dev.qrels["ua"]) == {"y": 1}
    assert dev.queries[0].history.items == ["x"]
    assert dev.corpus.train.codes.tolist() == test.corpus.train.codes.tolist()
    assert dev.qrels.protocol == f"dev:{test.qrels.protocol}"
    with pytest.raises(BadInput, match="no split 'train': there are test and dev"):
        load("interactions('clicks.csv')", split="train")


@pytest.mark.parametrize(
    ("rows", "options", "told"),
    [
        (("a,x,soon", *GOOD), "", r"clicks\.csv:2: the time 'soon' is neither a number nor a date"),
        (("a,q,", *GOOD), "", r"clicks\.csv:2: the time is missing"),
        (("a,q,nan", *GOOD), "", r"clicks\.csv:2: the time 'nan' is no time"),
        (("a,q,1700000000", "a,p,1700000000000", *GOOD), "", r"line 2 has the time 1700000000, in seconds, line 3"),
        ((*GOOD, "a,x,1"), "", r"clicks\.csv:8: repeats line 2: user 'a', item 'x' at the same time"),
        ((*GOOD, ",x,1"), "", r"clicks\.csv:8: the id of the user is empty"),
        ((*GOOD, "c,,1"), "", r"clicks\.csv:8: the id of the item is empty"),
        ((*GOOD, "c,x"), "", r"clicks\.csv:8: 2 cells, but the head has 3"),
        (GOOD, ", user='who'", r"clicks\.csv: no column 'who': the head has user, item, time"),
        ((), "", r"clicks\.csv: no events"),
        (("a,x,1", "a,y,2"), "", r"no queries are left by leave_one_out\(\): 1 users with fewer than 3 events"),
    ],
)
def test_what_is_wrong_with_a_table(rows, options, told):
    table(*rows)
    with pytest.raises(BadInput, match=told):
        load(f"interactions('clicks.csv'{options})")


@pytest.mark.parametrize(
    ("rating", "told"),
    [("7", "from 1 to 5 is wanted"), ("good", "is no number"), ("inf", "out of range"), ("", "is no number")],
)
def test_ratings_out_of_range(rating, told):
    table("a,x,1,5", f"a,y,2,{rating}", head="user,item,time,stars")
    with pytest.raises(BadInput, match=rf"clicks\.csv:3: the rating '{rating}' .*{told}"):
        load("interactions('clicks.csv', rating='stars', scale=(1, 5))")


def test_ratings_and_dates_are_kept():
    table("a,x,2024-05-01,5", "a,y,2024-05-02T10:00:00+02:00,1.5", "a,z,2024-05-03,2", head="user,item,time,stars")
    (query,) = load("interactions('clicks.csv', rating='stars')").queries
    assert [tuple(event) for event in query.history] == [("x", 1714521600.0, 5.0), ("y", 1714636800.0, 1.5)]


def test_repeats_may_be_allowed_and_one_event_users_are_counted():
    table(*GOOD, "a,x,1", "c,x,5", "d,y,5")
    data = load("interactions('clicks.csv', repeats=True)")
    assert data.left_out == {"users with fewer than 3 events": 2}
    assert len(data.corpus.train) == 5


def test_a_table_without_times_is_in_the_order_of_the_file():
    table("a,z", "a,x", "a,y", head="user,item")
    data = load("interactions('clicks.csv', time=None)")
    assert data.queries[0].history.items == ["z", "x"]
    assert "|fileorder|" in data.qrels.protocol


def test_s3_sequences():
    with open("Toys.txt", "w") as file:
        file.write("1 4 5 6\n2 5 6 4 7\n")
    data = load("s3('Toys.txt')")
    assert [query.id for query in data.queries] == ["u1", "u2"]
    assert data.corpus.train.codes.tolist() == [0, 1, 2]
    assert data.qrels.protocol.startswith("Toys@")
    assert data.qrels.protocol.endswith("|none|loo|fileorder|full|mask|drop|all")


@pytest.mark.parametrize(
    ("text", "told"), [("1 2 3\n1 4 5\n", "2: user '1' occurs twice, first in line 1"), ("1\n", "1: user '1' has no")]
)
def test_damaged_sequences(text, told):
    with open("Toys.txt", "w") as file:
        file.write(text)
    with pytest.raises(BadInput, match=rf"Toys\.txt:{told}"):
        load("s3('Toys.txt')")


def recbole(tmp_path, ending="inter", rows=("a\tx\t4\t1", "a\ty\t5\t2", "a\tz\t1\t3")):
    head = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    (tmp_path / "ml").mkdir(exist_ok=True)
    (tmp_path / "ml" / f"ml.{ending}").write_text("\n".join([head, *rows]) + "\n")


def test_recbole(tmp_path):
    recbole(tmp_path)
    (tmp_path / "ml" / "ml.item").write_text('item_id:token\tmovie_title:token_seq\tclass:token_seq\nx\tAn "X\tDrama\n')
    data = load("recbole('ml')")
    assert data.corpus["x"].title == 'An "X'
    assert data.corpus["x"].text == "class: Drama"
    assert data.queries[0].history[1] == ("y", 2.0, 5.0)


def test_a_split_of_recbole_is_kept_on_demand_and_its_leak_is_named(tmp_path):
    recbole(tmp_path, "train.inter", ("a\tx\t4\t1", "a\ty\t4\t9", "b\tx\t4\t1"))
    recbole(tmp_path, "valid.inter", ("a\tv\t4\t4",))
    recbole(tmp_path, "test.inter", ("a\tz\t4\t5", "b\tz\t4\t2"))
    data = load("recbole('ml', protocol=given_split())")
    assert [query.history.items for query in data.queries] == [["x", "y", "v"], ["x"]]
    recbole(tmp_path, "test.inter", ("a\tz\t4\t5", "b\tx\t4\t1"))
    with pytest.raises(BadInput, match="the split leaks: user 'b' is asked for item 'x'"):
        load("recbole('ml', protocol=given_split(repeats='miss'))")


def test_llmrank(tmp_path):
    folder = tmp_path / "games"
    folder.mkdir()
    (folder / "G.test.inter").write_text("user_id:token\titem_id_list:token_seq\titem_id:token\n7\t1 2\t3\n8\t2 3\t1\n")
    (folder / "G.item").write_text("item_id:token\ttitle:token_seq\n1\tChess\n2\tGo\n3\tHalma\n")
    (folder / "G.sasrec").write_text("7\t3 1 3\n")
    data = load("llmrank('games', lists='sasrec')")
    assert [query.id for query in data.queries] == ["u7"]
    assert data.left_out == {"users who are not evaluated": 1}
    assert list(data.candidates["u7"].ids) == ["3", "1"]
    with pytest.raises(NotFound, match="has no lists of 'bpr': there are sasrec"):
        load("llmrank('games', lists='bpr')")


@pytest.mark.parametrize("spec", ["s3('no.txt')", "recbole('no')", "llmrank('no')", "interactions('no.csv')"])
def test_what_is_not_there(spec):
    with pytest.raises(NotFound, match="no"):
        load(spec)


@pytest.mark.parametrize("spec", ["s3()", "bm25()", "s3('x', protocol=bm25())", "sthree('x')"])
def test_specs_that_are_no_source(spec):
    with pytest.raises(BadSpec):
        load(spec)


def test_texts_are_cut_as_recformer_cuts_and_empty_fields_leave_no_trace():
    words = " ".join(map(str, range(100)))
    one = document("i", {"description": words, "title": words, "brand": "", "colour": words})
    assert len(one.title.split()) == 32
    assert one.text == f"colour: {' '.join(map(str, range(16)))} | description: {' '.join(map(str, range(64)))}"


def test_the_spec_of_a_source_is_its_name(tmp_path):
    shop.write(tmp_path)
    spec = "interactions('clicks.csv', protocol=global_time(dev=0.7), items='items.csv')"
    assert repr(make(spec)) == spec
    assert load(spec).name == spec
