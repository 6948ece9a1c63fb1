"""The simulator: cases as asked for, errors of the stated kinds, costs counted where they arise."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank import Run, evaluate
from whyrank.errors import BadInput
from whyrank.llm.fake import Fake
from whyrank.llm.messages import Prompt
from whyrank.registry import make
from whyrank.rerank.base import Reranker
from whyrank.rerank.formats import Pair, RankingFormat, Rubric
from whyrank.simulate import Noisy, Profile, Tokens, from_run, simulate, table
from whyrank.simulate.cases import Case, ranked
from whyrank.simulate.judge import Judge, Meter, judged
from whyrank.simulate.run import Outcome, margin

CASES = Profile().cases(20)
SURE = Noisy(0.0)


def outcome(spec: str, noise: Noisy = SURE, cases: list[Case] = CASES, **given: object) -> Outcome:
    (found,) = simulate([spec], cases, [noise], **given)  # type: ignore[arg-type]
    return found


def asked(judge: Judge, places: list[int], sample: int = 0) -> tuple[int, ...]:
    """The order that a judge gives to candidates of its case."""
    prompt = judge.format.render("?", [f"{at}." for at in places])
    (completion,) = judge.generate([Prompt(prompt.messages, prompt.sampling, sample)])
    return tuple(places[at] for at in judge.format.parse(completion, len(places)).permutation)  # type: ignore[arg-type]


def bench(case: Case, seed: int = 0) -> list[Meter]:
    return [Meter(case, Tokens(), np.random.default_rng(seed))]


# cases


@pytest.mark.parametrize("profile", [Profile(), Profile(50, 0.1, 0.6), Profile(20, 0.3, 0.7), Profile(5, 0.5, 1.0)])
def test_a_profile_is_what_it_says(profile):
    cases = profile.cases(300, seed=1)
    qrels = {case.request.query.id: case.grades for case in cases}
    run = Run.of({case.request.query.id: ranked(case, range(profile.n)) for case in cases})
    assert evaluate(run, qrels, ["nDCG@10"])["nDCG@10"] == pytest.approx(profile.ndcg, abs=0.005)
    counts = [len(case.grades) for case in cases]
    assert min(counts) >= 1 and len(cases) == 300
    given_one = (1 - profile.relevant) ** profile.n  # the share of queries that chance would leave without any
    assert np.mean(counts) == pytest.approx(profile.relevant * profile.n + given_one, rel=0.15)
    for case in cases:
        relevant = {at for at, document in enumerate(case.request.documents) if document.id in case.grades}
        assert all((case.utilities[at] >= 0.6) == (at in relevant) for at in range(profile.n))
        assert list(case.request.scores) == sorted(case.request.scores, reverse=True)


def test_the_same_seed_draws_the_same_and_another_seed_others():
    again, other = Profile().cases(3), Profile().cases(3, seed=1)
    assert [case.request for case in again] == [case.request for case in Profile().cases(3)]
    assert again[0].request != other[0].request


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n": 1}, "n must be at least 2, not 1"),
        ({"relevant": 0.0}, "above 0 and below 1, not 0.0"),
        ({"relevant": 1.0}, "above 0 and below 1, not 1.0"),
        ({"ndcg": 1.2}, "at most 1, not 1.2"),
        ({"ndcg": 0.01}, "a random order of such candidates has an nDCG@10 of more than 0.01: raise the first stage's"),
    ],
)
def test_a_profile_that_cannot_be_is_refused(given, message):
    with pytest.raises(BadInput, match=message):
        Profile(**given).cases(20)


def test_real_judgements_keep_order_scores_and_grades():
    run = Run.of({"q1": {"a": 5.0, "b": 4.0, "c": 3.0, "d": 1.0}, "q2": {"a": 1.0}, "q3": {"a": 1.0}})
    qrels = {"q1": {"b": 3, "c": 1, "d": 0, "gone": 2}, "q2": {"a": 0}}
    (case,) = from_run(run, qrels)
    assert [document.id for document in case.request.documents] == ["a", "b", "c", "d"]
    assert case.request.scores == (5.0, 4.0, 3.0, 1.0) and case.grades == qrels["q1"]
    a, b, c, d = case.utilities
    assert max(a, d) < 0.5 and 0.6 <= c <= 0.6 + 0.4 / 3 and b >= 0.6 + 0.8 / 3
    assert len(from_run(run, qrels, depth=2)[0].utilities) == 2
    assert outcome("listwise(fake())", cases=[case]).mean < 1, "what the first stage lost stays lost"
    with pytest.raises(BadInput, match="none of its 3 queries has a document that is judged relevant"):
        from_run(run, {"q2": {"a": 0}, "q9": {"a": 1}})
    with pytest.raises(BadInput, match="depth must be at least 1"):
        from_run(run, qrels, depth=0)


# the judge


@given(st.permutations(range(30)))
def test_without_noise_the_order_is_exact(places):
    judge = Judge(SURE, RankingFormat(think="no"), bench(CASES[0]))
    assert asked(judge, places) == tuple(sorted(places, key=lambda at: -CASES[0].utilities[at]))


def test_shared_errors_last_and_fresh_ones_do_not():
    places = list(range(40))
    lasting = Judge(Noisy(0.0, shared=0.3), RankingFormat(think="no"), bench(CASES[0]))
    right = asked(Judge(SURE, RankingFormat(think="no"), bench(CASES[0])), places)
    assert asked(lasting, places) == asked(lasting, places[::-1]) != right
    fresh = Judge(Noisy(0.3), RankingFormat(think="no"), bench(CASES[0]))
    assert asked(fresh, places) != asked(fresh, places)


def test_the_errors_have_the_sizes_that_are_stated():
    case = replace(CASES[0], utilities=np.full(100, 0.5))

    def seen(noise: Noisy, times: int) -> np.ndarray:
        meter = bench(case)[0]
        meter.errors = np.random.default_rng(1).standard_normal(100)
        judge = Judge(noise, RankingFormat(think="no"), [meter])
        values = np.array([judge._seen(range(100), meter) for _ in range(times)])
        return np.log(values / (1 - values)) / 4  # the logistic undone

    fresh, shared = seen(Noisy(0.2), 200), seen(Noisy(0.0, 0.2), 2)
    assert fresh.std(axis=0).mean() == pytest.approx(0.2, rel=0.05)
    assert abs(fresh.mean()) < 0.01
    assert shared.std() == pytest.approx(0.2, rel=0.25) and (shared[0] == shared[1]).all()
    places = seen(Noisy(0.0, position=0.3), 1)[0]
    assert places == pytest.approx(np.linspace(0.3, 0, 100))


def test_a_favoured_place_holds_the_order_that_is_shown():
    assert asked(Judge(Noisy(0.0, position=100.0), RankingFormat(think="no"), bench(CASES[0])), [7, 3, 5]) == (7, 3, 5)


def test_equal_prompts_get_one_answer_and_cost_one_call():
    case, meters = CASES[0], bench(CASES[0])
    reranker = judged(make("pointwise(fake(), samples=2, sampling=sampling(temperature=1.0))", Reranker), SURE, meters)
    reranker.rank_requests([case.request], None)
    assert meters[0].calls == 200
    twice = judged(make("cascade(listwise(fake()), listwise(fake()), depths=(20, 20))", Reranker), SURE, bench(case))
    first, second = (call.thought for call in twice.rank_requests([case.request], None)[0].calls)
    assert first == second == ""


def test_noisy_alone_answers_nothing():
    with pytest.raises(BadInput, match="can read no text"):
        make("listwise(noisy())", Reranker).rank("why?", ["a", "b"])
    for spec in ("noisy(sigma=-1.0)", "noisy(shared=-0.1)"):
        with pytest.raises(BadInput, match="must be at least 0"):
            make(spec)


# what is replaced


def test_every_model_is_replaced_but_a_noise_that_stands_there():
    meters = bench(CASES[0])
    part = make(
        "hybrid(cascade(pointwise(noisy(sigma=0.5)), consensus(fake()), pairwise(openai('m')), setwise(fake())))",
        Reranker,
    )
    judges = []

    def collect(part: object) -> None:
        for value in getattr(part, "__dict__", {}).values():
            for one in value if isinstance(value, tuple) else (value,):
                judges.append((one.noise, one.format)) if isinstance(one, Judge) else collect(one)

    collect(judged(part, Noisy(0.1), meters))
    assert (
        judges[:3] == [(Noisy(0.5), Rubric()), (Noisy(0.1), RankingFormat()), (Noisy(0.1), Pair())] and len(judges) == 4
    )
    assert "judge" not in repr(part)


@pytest.mark.parametrize("spec", ["encoder_rerank('m')", "cascade(listwise(fake()), encoder_rerank('m'))"])
def test_what_asks_no_model_is_refused(spec):
    with pytest.raises(BadInput, match=r"encoder_rerank\('m'\) asks no language model: it cannot be simulated"):
        outcome(spec)


def test_passages_must_reach_the_judge_whole():
    with pytest.raises(BadInput, match="max_passage_tokens"):
        outcome("listwise(fake(), max_passage_tokens=1)")


# costs


@pytest.mark.parametrize(
    ("spec", "calls", "rounds", "passages"),
    [
        ("listwise(fake())", 9, 9, 180),
        ("merge_tree(fake())", 9, 4, 180),
        ("pointwise(fake())", 100, 1, 100),
        ("groupwise(fake())", 10, 1, 200),
        ("tournament(fake())", 13, 5, 185),
        ("consensus(fake(), shuffles=3)", 27, 9, 540),
        ("cascade(pointwise(fake()), listwise(fake()), depths=(100, 20))", 101, 2, 120),
        ("hybrid(merge_tree(fake()))", 9, 4, 180),
        ("with_scores(listwise(budget(fake(), think=100, answer=50)))", 9, 9, 180),
    ],
)
def test_calls_rounds_and_passages_are_counted(spec, calls, rounds, passages):
    found = outcome(spec)
    assert [found.cost(name) for name in ("calls", "rounds", "documents")] == [calls, rounds, passages]


def test_tokens_add_up():
    given = Tokens(passage=10, query=3, thought=1000, short_thought=100)
    direct, reasoned = (
        outcome(f"listwise(fake(){form})", tokens=given) for form in (", format=ranking(think='no')", "")
    )
    prompt = RankingFormat(think="no").render("", ["x"] * 20)
    around = sum(len(piece.text) for message in prompt.messages for piece in message.pieces if piece.cut == "never")
    assert direct.cost("input") == 9 * (20 * 10 + 3 + around // 4)
    assert reasoned.cost("output") - direct.cost("output") == pytest.approx(9 * 1000, rel=0.02)
    assert outcome("pointwise(fake())", tokens=given).cost("output") == pytest.approx(100 * 105, rel=0.05)
    short = outcome("listwise(fake(), sampling=sampling(max_tokens=40))", tokens=given)
    assert short.cost("output") == 9 * 40


def test_the_same_seed_gives_the_same_figures_alone_or_beside_others():
    specs = ["listwise(fake())", "adaptive(fake())"]
    both = simulate(specs, CASES, [Noisy()], seed=3)
    alone = simulate(specs[1:], CASES, [Noisy()], seed=3)
    assert (both[1].values == alone[0].values).all() and both[1].to_dict() == alone[0].to_dict()
    assert (simulate(specs[1:], CASES, [Noisy()], seed=4)[0].values != alone[0].values).any()


# figures


def test_intervals_are_students():
    assert margin(np.array([0.0, 1.0])) == pytest.approx(12.706 * math.sqrt(0.5) / math.sqrt(2), rel=1e-3)
    assert math.isnan(margin(np.array([0.5])))
    found = outcome("listwise(fake())", cases=CASES[:1])
    assert found.to_dict()["nDCG@10"] == {"mean": 1.0, "margin": None}


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 1), st.floats(0, 0.5), st.integers(0, 10**6))
def test_quality_lies_between_nothing_and_all(sigma, shared, seed):
    found = outcome("merge_tree(fake())", Noisy(sigma, shared), CASES[:5], seed=seed)
    assert ((0 <= found.values) & (found.values <= 1)).all()


def test_the_table_shows_means_ranges_and_the_most():
    found = simulate(["listwise(fake())", "top_down(fake())"], CASES, [SURE, Noisy(0.3)])
    lines = table(found).splitlines()
    assert lines[0].split()[-2:] == ["noisy(sigma=0.0)", "noisy(sigma=0.3)"]
    assert lines[2].split()[:4] == ["listwise(fake())", "9", "9", "180"] and "1.000 ±0.000" in lines[2]
    assert "–" in lines[3] and "(" in lines[3].removeprefix("top_down(fake())")
    assert lines[4].split()[:2] == ["(first", "stage)"] and lines[4].count("0.478") == 2
    assert "nDCG@10, mean of 20 queries" in lines[-1]


def test_other_measures():
    assert outcome("listwise(fake())", measure="RR@10").mean == 1
    assert "RR@10" in outcome("listwise(fake())", measure="RR@10").to_dict()


def test_nothing_to_simulate():
    for some in (([], CASES, [SURE]), (["listwise(fake())"], [], [SURE]), (["listwise(fake())"], CASES, [])):
        with pytest.raises(BadInput, match="at least one reranker"):
            simulate(*some)


def test_a_spec_is_a_reranker():
    with pytest.raises(BadInput, match="a Reranker is wanted"):
        simulate(["fake()"], CASES)
    assert Fake() == make("fake()")
