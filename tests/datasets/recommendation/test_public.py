"""Public logs as their authors publish them, in small."""

import json

import pytest

from whyrank.datasets import available, load
from whyrank.errors import BadInput, NotFound


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WHYRANK_DATA", str(tmp_path / "root"))


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding)


def test_movielens_in_all_its_forms(tmp_path):
    root = tmp_path / "root" / "movielens"
    write(root / "ml-100k" / "u.data", "1\t10\t5\t100\n1\t11\t3\t200\n1\t12\t4\t300\n")
    flags = "|".join("1" if at in (5, 14) else "0" for at in range(19))
    write(
        root / "ml-100k" / "u.item", f"10|Amélie (2001)|01-Jan-2001||url|{flags}\n".replace("|url", "|url"), "latin-1"
    )
    write(root / "ml-1m" / "ratings.dat", "1::10::5::100\n1::11::3::200\n1::12::4::300\n")
    write(root / "ml-1m" / "movies.dat", "10::Amélie (2001)::Comedy|Romance\n", "latin-1")
    write(
        root / "ml-25m" / "ratings.csv", "userId,movieId,rating,timestamp\n1,10,5.0,100\n1,11,3.5,200\n1,12,4.0,300\n"
    )
    write(root / "ml-25m" / "movies.csv", 'movieId,title,genres\n10,"Amélie, (2001)",Comedy|Romance\n')
    for name in ("ml-100k", "ml-1m", "ml-25m"):
        data = load(f"movielens/{name}")
        assert f"movielens/{name}" in available()
        assert data.name == f"movielens/{name}"
        assert data.queries[0].history.items == ["10", "11"]
        assert data.corpus["10"].title.startswith("Amélie")
        assert data.corpus["10"].text == "category: Comedy, Romance"
        assert load(f"movielens('{root / name}')").qrels.protocol == data.qrels.protocol
    assert dict(load("movielens/ml-1m", split="dev").qrels["u1"]) == {"11": 1}
    with pytest.raises(NotFound, match=r"movielens/ml-20m is not on this machine: put GroupLens' archive"):
        load("movielens/ml-20m")


def test_damaged_movielens(tmp_path):
    write(tmp_path / "ml" / "ratings.dat", "1::10::5::100\n1::11::7::200\n")
    with pytest.raises(BadInput, match=r"ratings\.dat:2: the rating '7' is out of range: a number from 0\.5 to 5"):
        load("movielens('ml')")
    write(tmp_path / "ml" / "ratings.dat", "1::10::5\n")
    with pytest.raises(BadInput, match=r"ratings\.dat:1: 3 cells instead of"):
        load("movielens('ml')")
    with pytest.raises(NotFound, match=r"no ratings\.csv, ratings\.dat or u\.data"):
        load("movielens('nowhere')")


def test_amazon_2023(tmp_path):
    rows = "A,X1,5.0,1600000000000\nA,X2,4.0,1600000100000\nA,X3,1.0,1600000200000\n"
    write(tmp_path / "5core" / "Games.csv", f"user_id,parent_asin,rating,timestamp\n{rows}")
    meta = {"parent_asin": "X1", "title": "Chess", "store": "Acme", "categories": ["Games", "Board"], "description": []}
    write(
        tmp_path / "meta_Games.jsonl", json.dumps(meta) + "\n" + json.dumps({"parent_asin": "X9", "title": "?"}) + "\n"
    )
    data = load("amazon2023('5core/Games.csv')")
    assert data.corpus["X1"].content == "Chess brand: Acme | category: Games Board"
    assert len(data.corpus) == 3
    write(tmp_path / "meta_Games.jsonl", '{"title": "no id"}\n')
    with pytest.raises(BadInput, match=r"meta_Games\.jsonl:1: an item without a parent_asin"):
        load("amazon2023('5core/Games.csv')")


def test_p5(tmp_path):
    write(tmp_path / "root" / "p5" / "beauty" / "sequential_data.txt", "1 5 6 7\n")
    data = load("p5/beauty")
    assert data.qrels.protocol.startswith("P5-beauty@")
    assert data.queries[0].history.items == ["5", "6"]
