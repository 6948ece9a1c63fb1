"""The closed world: grades that can be derived from the words, splits apart, words that mislead."""

import random
import re
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank import BM25, Query, evaluate, load
from whyrank.data_synth import world_words as words
from whyrank.data_synth.world import LEVELS, SPLITS, Level, World
from whyrank.data_synth.world_data import dataset
from whyrank.data_synth.world_lists import WorldLists
from whyrank.errors import BadInput, NotFound
from whyrank.eval import by_slice
from whyrank.eval.orders import ndcg
from whyrank.rerank.formats import RankingFormat
from whyrank.retrieval.lexical.analysis import analyze as english

WORLD = World()
LISTS = {name: WorldLists(World(contexts=level.contexts), level) for name, level in LEVELS.items()}


def read_handbook(book: str) -> dict[str, list[tuple[str, ...]]]:
    """The facts of a handbook, by the form of their sentences: an independent reader of what a model is told."""
    forms = {
        "kind": r"A (\w+) is a kind of (\w+)\.",
        "owns": r"The (\w+) owns a (\w+)\.",
        "sign": r"(?:Things that|What feels) (\w+) (?:do so|suffers) from (\w+)\.",
        "helps": r"Against the (\w+) of a kind of (\w+) help (\w+), (\w+), (\w+)\.",
        "place": r"'(.+)' means the same as '(.+)' and '(.+)'\.",
    }
    return {name: [found.groups() for found in re.finditer(form, book)] for name, form in forms.items()}


def grade_by_words(book: dict[str, list[tuple[str, ...]]], question: str, document: str) -> int:
    """The grade of a document, worked out from the texts and the handbook alone."""
    kinds, owns, signs = dict(book["kind"]), dict(book["owns"]), dict(book["sign"])
    helps = {(mood, kind): set(nouns) for mood, kind, *nouns in book["helps"]}
    said = re.findall(r"\w+", question)
    owned = [owns[word] for word in said if word in owns]
    (thing,) = owned or [word for word in said if word in kinds]
    (sign,) = [word for word in said if word in signs]
    (places,) = [both for asked, *both in book["place"] if asked in question.lower()]
    affirmed = re.sub(r"\bnot \w+", "", document.lower())
    if not helps[signs[sign], kinds[thing]] & set(re.findall(r"\w+", affirmed)):
        return 0
    return 2 if any(place in affirmed for place in places) else 1


@pytest.mark.parametrize("name", LEVELS)
def test_every_grade_follows_from_the_words_and_the_handbook(name):
    lists = LISTS[name]
    book = read_handbook(lists.world.handbook())
    for task in lists.draw("test", 30, seed=1):
        question = task.query.text.splitlines()[-1]
        worked_out = [grade_by_words(book, question, document.text) for document in task.documents]
        assert worked_out == list(task.gains)
        assert max(worked_out) == 2


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_every_seed_gives_a_world_whose_whole_corpus_can_be_graded_by_words(seed):
    world, draw = World(seed), random.Random(seed)
    book = read_handbook(world.handbook())
    question = draw.choice([*world.questions("composed", (2,))])
    text = world.ask(question, draw)
    for id in draw.sample([*world.documents], 100):
        assert grade_by_words(book, text, world.documents[id].text) == world.grade(question, world.statements[id])


def test_a_seed_is_a_world_and_another_seed_another_one():
    again, other = World(), World(1)
    assert again.documents == WORLD.documents
    assert [*again.questions("unseen")] == [*WORLD.questions("unseen")]
    assert other.principle_of != WORLD.principle_of and other.mood_of != WORLD.mood_of
    assert LISTS["base"].draw("test", 10, 3) == WorldLists(again, LEVELS["base"]).draw("test", 10, 3)
    assert LISTS["base"].draw("test", 10, 3) != LISTS["base"].draw("test", 10, 4)


def test_the_world_of_seed_0_stays_as_it_is():
    """The shipped model knows this world by heart: who changes it trains anew."""
    task = LISTS["base"].draw("test", 1)[0]
    assert task.query.text == "What makes my goblet feel wistful up in the hills?"
    assert WORLD.documents["d0000"].text == "The ranger tells of a basin, known to shudder after dark, and laughs."


def test_splits_are_apart_and_what_is_new_in_them_is_new():
    splits = {split: set(WORLD.questions(split)) for split in SPLITS}
    assert sum(map(len, splits.values())) == len(set().union(*splits.values()))
    known = WORLD.symptom_of

    def sign(question):
        return known.get(question.sign, WORLD.mood_of[question.sign])

    seen = {(sign(q), q.context) for q in splits["train"]}
    composed = {(sign(q), WORLD.kind_of[q.thing]) for q in splits["train"] if q.hops > 1}
    assert not seen & {(sign(q), q.context) for q in splits["unseen"]}
    assert not composed & {(sign(q), WORLD.kind_of[q.thing]) for q in splits["composed"]}
    assert {(sign(q), q.context) for q in splits["test"] | splits["composed"]} <= seen
    assert {(sign(q), WORLD.kind_of[q.thing]) for q in splits["test"] | splits["unseen"] if q.hops > 1} <= composed
    # each fact of a new composition is known from elsewhere
    facts = set(chain.from_iterable(WORLD.need(q).steps for q in splits["train"]))
    assert set(chain.from_iterable(WORLD.need(q).steps for q in splits["composed"])) <= facts


def test_documents_that_help_share_no_word_with_any_question():
    draw = random.Random(0)
    asked = set()
    for question in WORLD.questions("test"):
        asked |= set(english(WORLD.ask(question, draw)))
    for id, said in WORLD.statements.items():
        shared = asked & set(english(WORLD.documents[id].text))
        assert not shared if said.principle else shared


@pytest.mark.parametrize("member", ["world", "world/unseen", "world/composed"])
def test_words_lead_bm25_to_nothing(member):
    data = load(member)
    run = BM25().index(data.corpus).search(data.queries, k=10)
    assert evaluate(run, data.qrels, "nDCG@10")["nDCG@10"] < 0.001
    assert min(run.sizes.values()) == 10


def test_the_answer_of_the_world_finds_what_helps():
    data, draw = load("world"), LISTS["base"].draw("test", 300)
    answers = {task.query.id: WORLD.answer(WORLD.need(question_of(task))) for task in draw}
    run = BM25().index(data.corpus).search([Query(id, text) for id, text in answers.items()], k=30)
    report = evaluate(run, data.qrels, ["nDCG@10", "R(rel=2)@30"])
    assert 0.5 < report["nDCG@10"] < 0.9  # denials mislead BM25 still
    assert report["R(rel=2)@30"] > 0.95


def question_of(task):
    from whyrank.data_synth.world import WorldQuestion

    return WorldQuestion(*task.source["question"])


@pytest.mark.parametrize("name", LEVELS)
def test_lists_keep_to_their_level(name):
    level = LEVELS[name]
    for task in LISTS[name].draw("test", 30):
        gains = task.gains
        assert level.shortest <= len(gains) <= level.longest
        assert 1 <= gains.count(2.0) <= level.best
        assert gains.count(1.0) <= level.partial
        assert task.source["hops"] in level.hops and task.query.id.startswith(f"h{task.source['hops']}-")
        said = [LISTS[name].world.statements[document.id] for document in task.documents]
        share = sum(not one.principle for one in said) / gains.count(0.0) if gains.count(0.0) else 0
        assert abs(share - task.source["traps"]) <= 0.5 / max(1, gains.count(0.0)) + 1e-9


def test_traps_in_lists_are_told_in_the_words_of_their_question():
    for task in LISTS["base"].draw("test", 50):
        asked = set(english(task.query.text))
        for document in task.documents:
            if not WORLD.statements[document.id].principle:
                assert asked & set(english(document.text))


def marks(lines):
    """The grades that lines of a thought come to; what has one above 0 is named again."""
    read = [re.fullmatch(r"\[(\d+)\] .* (\d)( \[\d+\])?", line) for line in lines]
    assert [one[3] for one in read] == [f" [{one[1]}]" if int(one[2]) else None for one in read]
    return [int(one[2]) for one in read]


def test_a_thought_says_what_follows_and_its_order_is_that_of_the_grades():
    for task in LISTS["base"].draw("train", 30):
        first, *lines = task.thought.splitlines()
        need = WORLD.need(question_of(task))
        assert first.endswith(f": {need.principle}; {need.steps[-1][0]}: {need.context}")
        assert marks(lines) == list(task.gains)
        assert [task.grades[id] for id in task.order] == sorted(task.gains, reverse=True)
        utilities = [-task.order.index(document.id) for document in task.documents]
        completion = RankingFormat().write(utilities, task.thought)
        assert RankingFormat().parse(completion, len(task.documents)).status == "exact"


def test_a_small_world_that_denies_less_has_lists_too():
    small = WorldLists(World(contexts=2), Level(contexts=2))
    assert len([*small.draw("train", 300)]) == 300


def test_a_list_has_no_more_of_a_kind_than_there_is():
    full = Level(shortest=60, longest=60, best=40, partial=60, traps=(1.0,))
    tasks = [*WorldLists(WORLD, full).draw("train", 30)]
    assert {len(task.documents) for task in tasks} == {60}
    assert max(task.gains.count(2.0) for task in tasks) < 20


def test_noise_is_in_the_thoughts_and_never_in_the_grades():
    noisy = WorldLists(WORLD, Level(noise=0.3))
    wrong = 0
    for task in noisy.draw("train", 50):
        question = question_of(task)
        assert task.grades == {id: WORLD.grade(question, WORLD.statements[id]) for id in task.grades}
        wrong += marks(task.thought.splitlines()[1:]) != list(task.gains)
    assert 30 < wrong <= 50


def test_drills_hold_all_kinds_of_documents():
    drills = WorldLists(WORLD, Level(shortest=1, longest=3, balanced=True)).draw("train", 300)
    shares = [[*chain(*(task.gains for task in drills))].count(grade) for grade in (0.0, 1.0, 2.0)]
    assert min(shares) > 0.15 * sum(shares)


def test_sorted_lists_stand_as_a_search_finds_them():
    def shown(share):
        tasks = WorldLists(WORLD, Level(shortest=20, longest=20, best=6, partial=10, sorted=share)).draw("train", 60)
        return sum(ndcg(task.gains, 10) for task in tasks) / len(tasks)

    assert shown(0.0) + 0.2 < shown(0.5) < shown(1.0) - 0.1
    assert 0.9 < shown(1.0) < 1.0  # with some errors


def test_a_list_is_a_data_set_with_candidates_and_slices():
    data = load("world/lists/sparse/unseen")
    assert data.name == "world/lists/sparse/unseen" and len(data.queries) == 300
    assert all(set(data.candidates[id].ids) == set(judged) and len(judged) == 20 for id, judged in data.qrels.items())
    reports = by_slice(data.candidates, data.qrels, ["nDCG@10"], data.slices["hops"])
    assert [report.name for report in reports] == ["lists, hops 1", "lists, hops 2", "lists, hops 3"]
    whole = evaluate(data.candidates, data.qrels, ["nDCG@10"])["nDCG@10"]
    assert sum(report["nDCG@10"] * len(report.queries) for report in reports) / 300 == pytest.approx(whole)
    assert whole < 0.4  # there is headroom
    assert sorted(set(data.slices["traps"].values())) == ["traps 0.25", "traps 0.5", "traps 0.75"]


def test_training_questions_are_another_split_of_the_same_name():
    train, test = load("world/lists", split="train"), load("world/lists")
    assert len(train.queries) == 3000
    assert not {query.text for query in train.queries} & {query.text for query in test.queries}


def test_the_open_book_stands_before_the_question():
    data = load("world/lists/open")
    assert data.queries[0].text.startswith(World().handbook())


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(NotFound, match="did you mean 'world/lists/sparse'"):
        load("world/lists/sparce")
    with pytest.raises(BadInput, match="no split 'dev'"):
        load("world", split="dev")
    with pytest.raises(NotFound, match="questions of 1 hops, not 100000"):
        LISTS["base"].draw("test", 300000)
    for wrong in ({"hops": ()}, {"hops": (4,)}, {"contexts": 17}, {"best": 0}, {"noise": 2.0}, {"shortest": 11}):
        with pytest.raises(BadInput):
            Level(**wrong)
    with pytest.raises(BadInput, match="belongs to a slice"):
        by_slice(load("world/lists").candidates, load("world/lists").qrels, "nDCG@10", {})


def test_another_seed_is_another_data_set():
    assert dataset("plain", "test", True, seed=5).qrels != dataset("plain", "test", True).qrels


def test_no_word_plays_two_parts():
    parts = [
        *(" ".join(words.KINDS.values()), words.KEEPERS, words.SYMPTOMS, words.PRINCIPLES),
        re.sub(r"\b\w+:", "", words.CAUSES),
    ]
    listed = [*chain(*(re.findall(r"\w+", part) for part in parts))]
    assert len(set(listed)) == len(listed)
    assert len({english(word)[0] for word in listed}) == len(listed)
