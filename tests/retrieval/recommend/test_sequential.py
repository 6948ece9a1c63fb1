"""SASRec and BERT4Rec: they learn what follows what, see no future, and stop on what training held out."""

from dataclasses import replace

import numpy as np
import pytest

from whyrank import make
from whyrank.errors import BadSpec
from whyrank.retrieval.recommend.base import Recommender
from whyrank.types import Catalogue, Document, Event, Interactions, Query

torch = pytest.importorskip("torch")

from whyrank.retrieval.recommend.sequence_model import NetworkShape, SequenceModel, halted  # noqa: E402 (needs torch)

RING = [f"i{at}" for at in range(6)]
"""Each item is followed by the next, and the last by the first."""


def ring(items=RING, length=4):
    several = ((str(at), [items[(at + step) % len(items)] for step in range(length)]) for at in range(8 * len(items)))
    train = Interactions.of(several)
    return Catalogue([Document(id, "") for id in train.items], train)


def asked(*items):
    return Query("q", "", history=tuple(Event(item) for item in items))


SMALL = "dimensions=16, batch_size=16, rate=0.01, held_out=0, dropout=0.0"


@pytest.mark.parametrize(
    "spec",
    [
        f"sasrec({SMALL}, epochs=30)",
        f"sasrec({SMALL}, epochs=30, negatives=8)",
        f"sasrec({SMALL}, epochs=30, reason_steps=2)",
        f"sasrec({SMALL}, epochs=30, reason_steps=2, reason='prl', halt=0.01)",
        f"bert4rec({SMALL}, epochs=60)",
        f"bert4rec({SMALL}, epochs=60, reason_steps=1, reason='prl')",
    ],
)
def test_what_follows_what_is_learnt(spec):
    learnt = make(spec, Recommender).index(ring())
    run = learnt.search([replace(asked(RING[at - 2], RING[at - 1], RING[at]), id=f"q{at}") for at in range(6)], 3)
    assert [run[f"q{at}"].ids[0] for at in range(6)] == [RING[(at + 1) % 6] for at in range(6)]


def test_the_same_seed_learns_the_same_and_leaves_chance_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, two, other = (
        make(f"sasrec({SMALL}, epochs=1, seed={seed})", Recommender).index(ring()).search([asked("i3")], 6)["q"]
        for seed in (0, 0, 1)
    )
    assert list(one.ids) == list(two.ids)
    assert np.array_equal(one.scores, two.scores)
    assert not np.array_equal(one.scores, other.scores)
    assert torch.equal(before, torch.random.get_rng_state())


def shape(**more):
    return NetworkShape(
        **{
            "items": 9,
            "dimensions": 8,
            "layers": 2,
            "heads": 2,
            "dropout": 0.0,
            "longest": 6,
            "both_ways": False,
            "steps": 2,
        }
        | more
    )


def test_no_event_sees_a_later_one_nor_padding():
    model = SequenceModel(shape()).eval()
    codes = model.padded([torch.tensor([1, 2, 3, 4])])
    longer = model.padded([torch.tensor([1, 2, 3, 4]), torch.tensor([5, 6, 7, 8, 0, 1])])
    with torch.inference_mode():
        plain, *_ = model(codes)
        changed, *_ = model(codes.clone().index_fill_(1, torch.tensor([3]), 7))
        assert torch.allclose(plain[:, :3], changed[:, :3])
        assert not torch.allclose(plain[:, 3], changed[:, 3])
        beside = model(longer)
        for alone, batched in zip(model(codes), beside, strict=True):
            last = (alone[:, -1], batched[:, -1]) if alone.ndim == 3 else (alone, batched)
            assert torch.allclose(last[0][0], last[1][0], atol=1e-5)  # thoughts too
        both = SequenceModel(shape(both_ways=True)).eval()
        early, *_ = both(codes)
        late, *_ = both(codes.clone().index_fill_(1, torch.tensor([3]), 7))
        assert not torch.allclose(early[:, 0], late[:, 0])


def test_histories_longer_than_the_window_are_cut_at_the_front():
    model = SequenceModel(shape())
    assert model.padded([torch.arange(9)]).tolist() == [[3, 4, 5, 6, 7, 8]]
    assert model.padded([torch.tensor([], dtype=torch.int64)]).tolist() == [[model.padding]]


def test_reasoning_stops_where_it_no_longer_changes_its_mind():
    steps = [
        torch.tensor([[0.0, 0.0], [0.0, 0.0]]),
        torch.tensor([[0.0, 1e-4], [5.0, 0.0]]),
        torch.tensor([[9.0, 0.0]] * 2),
    ]
    assert halted(steps, 0.01).tolist() == [[0.0, pytest.approx(1e-4)], [9.0, 0.0]]
    assert halted(steps, 0.0).tolist() == [[9.0, 0.0], [9.0, 0.0]]


def test_training_stops_on_events_that_it_held_out():
    recommender = make(
        "sasrec(dimensions=16, batch_size=16, rate=0.01, epochs=40, patience=2, held_out=20)", Recommender
    )
    users = [str(at) for at in range(96)]
    held = recommender._held_out(users, [6] * 96)
    assert len(held) == len(set(held)) == 20
    assert held == recommender._held_out(users, [6] * 96)
    run = recommender.index(ring([f"i{at}" for at in range(12)], 6)).search([asked("i2", "i3")], 1)
    assert list(run["q"].ids) == ["i4"]


def test_a_new_user_and_unknown_items_get_something():
    run = (
        make(f"sasrec({SMALL}, epochs=1)", Recommender)
        .index(ring())
        .search([asked(), Query("r", "", history=(Event("?"),))], 5)
    )
    assert [len(run[query].ids) for query in ("q", "r")] == [5, 5]


@pytest.mark.parametrize("wrong", ["heads=3", "epochs=0", "dropout=1.0", "rate=0.0", "halt=-1.0", "negatives=-1"])
def test_networks_that_cannot_be(wrong):
    with pytest.raises(BadSpec):
        make(f"sasrec({wrong})")
