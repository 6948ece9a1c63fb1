import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from whyrank import Cascade, EncoderRerank, Fake, Hybrid, Listwise, Pointwise
from whyrank.formats import Rubric, YesNo
from whyrank.rerank.around.compose import WithScores
from whyrank.rerank.strategies.groupwise import Groupwise
from whyrank.serve.scores import unit_scores

numbers = st.lists(st.one_of(st.none(), st.floats(), st.sampled_from([0.0, 1.0, 0.5])), min_size=1, max_size=200)


@given(numbers, st.sampled_from(["auto", "own", "rank"]))
def test_scores_fall_strictly_from_0_to_1_whatever_the_model_gave(own, how):
    scores, made = unit_scores(own, lambda score: score, how)
    assert len(scores) == len(own)
    assert all(0 <= score <= 1 for score in scores)
    assert all(one > next for one, next in itertools.pairwise(scores))
    known = all(score is not None and 0 <= score <= 1 for score in own)
    falls = known and all(one >= next for one, next in itertools.pairwise(own))
    assert made == ("own" if falls and how != "rank" else "rank")


@given(st.lists(st.floats(0, 1), min_size=2, max_size=1000))
def test_own_scores_stay_what_they_were_but_for_a_hair(own):
    own.sort(reverse=True)
    scores, made = unit_scores(own, lambda score: score)
    assert made == "own"
    assert max(abs(one - two) for one, two in zip(own, scores, strict=True)) < 2e-4


def test_a_part_says_on_which_scale_its_scores_are():
    llm = Fake()
    assert Pointwise(llm).unit(75.0) == 0.75
    assert Pointwise(llm, format=Rubric(top=10)).unit(7.0) == 0.7
    assert Pointwise(llm, format=YesNo()).unit(0.25) == 0.25
    assert Groupwise(llm).unit(4.0) == 0.4
    assert Listwise(llm).unit(1.0) is None
    for part in (Cascade(Listwise(llm), Pointwise(llm)), Hybrid(Pointwise(llm)), WithScores(Pointwise(llm))):
        assert part.unit(50.0) == 0.5


def test_a_hybrid_whose_scores_rise_along_its_order_is_told_by_rank():
    assert unit_scores([0.2, 0.9], lambda score: score) == (unit_scores([None, None], lambda score: None)[0], "rank")
    assert unit_scores([math.nan], lambda score: score)[1] == "rank"


def test_an_encoder_of_vectors_says_it_by_its_cosine():
    minilm = EncoderRerank("minilm")
    assert [minilm.unit(cosine) for cosine in (-1.0, 0.0, 1.0)] == [0.0, 0.5, 1.0]
    assert EncoderRerank("minilm", normalize=False).unit(3.0) is None
