"""The methods of synthesis on the closed world, where every label can be proved: what is right stays, noise goes."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from teachers import LISTS, noisy, teacher, truth

from whyrank import BM25, Corpus, Dataset, Document, Qrels, Query, RankTask, load
from whyrank.data_synth.base import Preference
from whyrank.data_synth.compressed_traces import CompressedTraces
from whyrank.data_synth.deduplicated import Deduplicated
from whyrank.data_synth.folder import from_documents, from_queries, from_run
from whyrank.data_synth.group_labels import GroupLabels
from whyrank.data_synth.hard_negatives import HardNegatives
from whyrank.data_synth.hard_queries import HardQueries
from whyrank.data_synth.teacher_rankings import TeacherRankings
from whyrank.data_synth.trace_pairs import TracePairs
from whyrank.data_synth.trajectories import Trajectories
from whyrank.data_synth.world import WorldQuestion
from whyrank.errors import BadInput
from whyrank.eval.orders import ndcg
from whyrank.llm.answer import Failed, Ok
from whyrank.llm.fake import Fake
from whyrank.rerank.formats import GroupScoresFormat, RankingFormat
from whyrank.retrieval.base import Retriever
from whyrank.types import Ranking, Run

TASKS = LISTS.draw("train", 40, seed=7)
BARE = [replace(task, order=(), thought="", source={}) for task in TASKS]


def with_answers(tasks):
    """The tasks without grades, each with the answer that a teacher may see when it labels."""
    answers = [LISTS.world.answer(LISTS.world.need(WorldQuestion(*task.source["question"]))) for task in TASKS]
    return [replace(task, grades={}, source={"answer": answer}) for task, answer in zip(tasks, answers, strict=True)]


def test_labels_made_with_the_answer_are_the_truth_and_the_order_follows_it():
    asked = []

    def known(query, passages, prompt):
        asked.append((query, prompt))
        return truth(TASKS)(query, passages, prompt)

    made = TeacherRankings(teacher(known)).apply(with_answers(BARE))
    for task, one in zip(TASKS, made, strict=True):
        (item,) = one.items
        assert item.grades == {id: float(grade > 0) for id, grade in task.grades.items()}
        gains = [task.grades[id] for id in item.order]
        assert gains == sorted(gains, reverse=True) and item.thought == "so it is"
        (entry,) = item.source["synth"]
        assert entry["ndcg"] == 1.0 and entry["labels"] == [5.0 * task.grades[one.id] for one in task.documents]
        assert len(entry["prompts"]) == 2 and entry["samples"] == [0, 0] and all(entry["calls"])
    orders = [query for query, prompt in asked if "ranking" in prompt.messages[0].content]
    assert len(orders) == len(TASKS) and not any("right answer" in query for query in orders)


def test_a_noisy_teacher_is_kept_exactly_where_it_agrees_with_the_truth():
    made = TeacherRankings(teacher(noisy(truth(TASKS), 1.5)), min_ndcg=0.7).apply(BARE)
    kept = [one.items[0] for one in made if one.items]
    dropped = [one for one in made if not one.items]
    assert 5 < len(kept) < 35
    assert all(one.dropped == {"inconsistent": 1} for one in dropped)
    for item in kept:
        assert ndcg([item.grades[id] for id in item.order]) >= 0.7


def test_of_several_orders_the_best_is_kept():
    once = TeacherRankings(teacher(noisy(truth(TASKS), 1.0)), min_ndcg=0.0).apply(BARE)
    best = TeacherRankings(teacher(noisy(truth(TASKS), 1.0)), min_ndcg=0.0, samples=4).apply(BARE)
    for one, four in zip(once, best, strict=True):
        assert four.items[0].source["synth"][0]["ndcg"] >= one.items[0].source["synth"][0]["ndcg"]
        assert len(four.calls) == 4
    assert sum(four.items[0].source["synth"][0]["ndcg"] for four in best) > 37


def test_lists_that_teach_nothing_are_dropped_with_their_reason():
    document = Document("d", "text")
    alone = RankTask(Query("1", "q"), (document,), {"d": 1.0})
    barren = RankTask(Query("2", "q"), (document, Document("e", "other")), {"d": 0.0})
    blind = replace(barren, query=Query("3", "q"), grades={}, source={"answer": "so"})
    llm = Fake('<think>none</think><answer>{"1": 0, "2": 1}</answer>')
    made = TeacherRankings(llm).apply([alone, barren, blind])
    assert [one.dropped for one in made] == [{"too_short": 1}, {"nothing_relevant": 1}, {"nothing_relevant": 1}]
    assert [len(one.calls) for one in made] == [0, 0, 1]
    for method in (TracePairs(llm), CompressedTraces(llm)):
        assert method.apply([barren])[0].dropped == {"nothing_relevant": 1}
    assert CompressedTraces(llm).apply([replace(barren, grades={"d": 1.0})])[0].dropped == {"no_thought": 1}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("<think>so</think><answer>[2] > [2]</answer>", "repaired"),
        ("<think>so</think>I cannot say", "no_answer"),
        ("<answer>[2] > [1]</answer>", "no_thought"),
        ("<think>so</think><answer>[1] > [2]</answer>", "inconsistent"),
        (Ok("", "so and so", finish="length"), "truncated"),
        (Failed("refusal", "no"), "failed"),
    ],
)
def test_what_a_teacher_did_wrong_is_the_reason(said, reason):
    task = RankTask(Query("q", "?"), (Document("a", "one"), Document("b", "two")), {"b": 1})
    (made,) = TeacherRankings(Fake(lambda prompt: said), min_ndcg=0.9).apply([task])
    assert made.dropped == {reason: 1} and not made.items
    (made,) = TracePairs(Fake(lambda prompt: said), margin=0).apply([task])
    assert dict(made.dropped) == ({} if reason == "inconsistent" else {f"long {reason}": 1})


def test_group_labels_of_an_oracle_order_as_the_truth_does():
    for points in (GroupScoresFormat(), None):
        method = GroupLabels(teacher(truth(TASKS)), **({"points": points} if points else {}))
        for task, one in zip(BARE, method.apply(BARE), strict=True):
            (item,) = one.items
            assert all(0 <= grade <= 1 for grade in item.grades.values())
            assert max(item.grades, key=item.grades.get) == item.order[0]
            gains = [task.grades[id] for id in sorted(item.grades, key=item.grades.get, reverse=True)]
            assert gains == sorted(gains, reverse=True)
            assert item.source["synth"][0]["ndcg"] == pytest.approx(1.0) and item.source["scale"] == 1
            assert len(one.calls) == 1 + (1 if points else len(task.documents))


def test_group_labels_that_contradict_known_grades_are_dropped():
    upside_down = teacher(lambda *asked: [1 - one for one in truth(TASKS)(*asked)])
    made = GroupLabels(upside_down, min_ndcg=0.9).apply(BARE)
    assert all(one.dropped == {"inconsistent": 1} for one in made)


def test_the_judgement_that_is_kept_is_that_closest_to_the_mean_and_closer_to_the_truth():
    tasks = BARE[:12]
    method = Trajectories(teacher(noisy(truth(TASKS, top=4), 0.1)), samples=8)
    errors, single = [], []
    for task, one in zip(tasks, method.apply(tasks), strict=True):
        assert len(one.items) == len(task.documents) and len(one.calls) == 8 * len(task.documents)
        for item in one.items:
            (document,) = item.documents
            entry, goal = item.source["synth"][0], 25 * task.grades[document.id]
            far = [abs(score - entry["mean"]) for score in entry["scores"]]
            assert item.source["scale"] == 100
            assert abs(item.gains[0] - entry["mean"]) == min(far) and entry["judged"] == task.grades[document.id]
            if goal:  # scores are cut at 0, so that those of what does not help are no longer spread evenly
                errors.append(abs(item.gains[0] - goal))
                single += [abs(score - goal) for score in entry["scores"]]
    assert sum(errors) / len(errors) < 0.7 * sum(single) / len(single)


def test_trajectories_count_what_is_unreadable_and_what_is_too_long():
    task = BARE[0]
    n = len(task.documents)
    long = teacher(truth(TASKS), thought="on and on " * 600)
    assert Trajectories(long).apply([task])[0].dropped == {"too_long": n}
    mute = Fake("I would rather not")
    (made,) = Trajectories(mute, samples=3).apply([task])
    assert made.dropped == {"unreadable": n} and not made.items and len(made.calls) == 3 * n


@dataclass(frozen=True)
class AsGiven(Retriever):
    """Finds the documents of the collection in their order."""

    def _index(self, corpus):
        object.__setattr__(self, "ids", [document.id for document in corpus])

    def _search(self, queries, k):
        n = min(k, len(self.ids))
        return [Ranking(self.ids[:n], np.arange(len(self.ids), len(self.ids) - n, -1.0)) for _ in queries]


def small(task):
    """A collection of one list, in its order, of which only the first relevant document is judged."""
    best = max(task.documents, key=lambda one: task.grades[one.id])
    return Dataset("small", Corpus(task.documents)), replace(
        task, documents=(best,), grades={best.id: float(task.grades[best.id])}
    )


def test_a_teacher_takes_out_the_negatives_that_nobody_judged():
    fooled = taken = 0
    for task in BARE:
        data, given = small(task)
        bands = ((1, len(task.documents), 10),)
        blind = HardNegatives(AsGiven(), bands=bands)
        wise = HardNegatives(AsGiven(), bands=bands, teacher=teacher(truth(TASKS)))
        (first,), (second,) = blind.apply([given], data), wise.apply([given], data)
        fooled += sum(task.grades[id] > 0 for item in first.items for id in item.grades if id not in given.grades)
        for item in second.items:
            wrong = [id for id in item.grades if task.grades[id] > 0 and id not in given.grades]
            assert not wrong and given.documents[0] in item.documents
            assert second.counts.get("teacher_relevant", 0) == task.relevant - 1
            assert item.source["synth"][-1]["calls"] == [call.key for call in second.calls]
            taken += second.counts["negatives"]
    assert fooled > 5 and taken > 30


def test_negatives_come_from_their_bands_and_below_the_margin():
    documents = [Document(f"d{at}", f"text {at}") for at in range(30)]
    data = Dataset("d", Corpus(documents), qrels=Qrels({"q": {"d3": 1, "d12": 2}}))
    task = RankTask(Query("q", "text"), (documents[3],), {"d3": 1})
    (made,) = HardNegatives(AsGiven(), bands=((1, 10, 3), (11, 20, 4))).apply([task], data)
    (item,) = made.items
    places = sorted(int(id[1:]) for id, grade in item.grades.items() if not grade)
    assert sum(at < 10 for at in places) == 3 and sum(10 <= at < 20 for at in places) == 4
    assert "d12" not in item.grades and made.counts == {"relevant": 2, "negatives": 7}
    (made,) = HardNegatives(AsGiven(), bands=((1, 10, 9),), margin=0.5).apply([task], data)
    assert made.dropped == {"no_negatives": 1} and made.counts["above_margin"] == 9
    (made,) = HardNegatives(AsGiven(), bands=((1, 30, 9),), margin=0.5).apply([task], data)
    assert all(30 - int(id[1:]) <= 0.5 * 27 for id, grade in made.items[0].grades.items() if not grade)
    assert HardNegatives(AsGiven()).apply([replace(task, grades={})], data)[0].dropped == {"nothing_relevant": 1}
    with pytest.raises(BadInput, match="give its data set"):
        HardNegatives(AsGiven()).apply([task])


def test_a_failing_teacher_lets_no_negative_through():
    data, given = small(BARE[0])
    mute = Fake(lambda prompt: Failed("refusal", "no"))
    (made,) = HardNegatives(AsGiven(), bands=((1, 10, 5),), teacher=mute).apply([given], data)
    assert made.dropped == {"no_negatives": 1} and made.counts["teacher failed"] == len(made.calls)


STORY = "My kettle has begun to shake whenever guests come; what could I put beside it to calm it?"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (f"<think>hm</think><question>{STORY}</question><answer>Ballast.</answer>", ""),
        (f"<question>{STORY}</question>", "no_answer"),
        ("<question>Why so?</question><answer>So.</answer>", "too_short"),
        (f"<question>{'word ' * 400}</question><answer>So.</answer>", "too_long"),
        ("<question>Is trust in ballast by starlight what seldom fails?</question><answer>Y.</answer>", "shares_words"),
        (Failed("timeout", "slow"), "failed"),
    ],
)
def test_queries_from_documents(said, reason):
    document = Document("d", "Trust ballast by starlight; it seldom fails.")
    wise = Fake(lambda prompt: said if "write questions" in prompt.messages[0].content else "80", failures=0)
    if isinstance(said, Failed):
        wise = Fake(lambda prompt: Failed("refusal", "no"))
    (made,) = HardQueries(wise).apply([RankTask(Query("d", ""), (document,))])
    if reason:
        assert made.dropped == {reason: 1} and not made.items
        return
    (item,) = made.items
    assert item.query.text == STORY and item.grades == {"d": 1.0}
    assert (
        item.source["scale"] == 1
        and item.source["answer"] == "Ballast."
        and item.source["document"] == "d"
        and len(made.calls) == 2
    )
    no = Fake(lambda prompt: said if "write questions" in prompt.messages[0].content else "20")
    assert HardQueries(no).apply([RankTask(Query("d", ""), (document,))])[0].dropped == {"not_answered": 1}
    assert len(HardQueries(no, check=None, per_document=3).apply([RankTask(Query("d", ""), (document,))])[0].items) == 3


def test_styles_are_preferred_by_what_thinking_gains():
    def answers(wise_when_long):
        def known(query, passages, prompt):
            right = truth(TASKS)(query, passages, prompt)
            thinks = "<think>" in prompt.chat[-1]["content"]
            return right if thinks == wise_when_long else [-one for one in right]

        return known

    for wise_when_long in (True, False):
        for one in TracePairs(teacher(answers(wise_when_long)), margin=0.02).apply(BARE):
            (pair,) = one.items  # the two draws of a style are alike, so there is no pair within it
            assert isinstance(pair, Preference) and pair.source["synth"][0]["level"] == "group"
            better, worse = pair.source["synth"][0]["ndcg"]
            assert better == 1.0 and worse < 1
            assert bool(pair.chosen.text.count("so it is")) == wise_when_long
            record = pair.record()
            assert record["chosen"][0]["role"] == "assistant" and record["prompt"][0]["role"] == "system"
            for text in (pair.chosen, pair.rejected):
                assert RankingFormat().parse(text, 99).missing  # a list that can be read, in the form of the prompt


def telling(task):
    """A model that ranks right if what it is made to think names what matters, [best], and else gives up."""

    def known(query, passages, prompt):
        right = truth(TASKS)(query, passages, prompt)
        return right if "KEY" in prompt.prefill else [-one for one in right]

    return teacher(known)


def rewriting(task, words):
    """The same model, which rewrites thoughts so."""
    ranks = telling(task).answer
    return Fake(lambda prompt: words if "Write the thought again" in prompt.chat[0]["content"] else ranks(prompt))


def with_thought(task, parts=9, key=4):
    words = [f"Step {at} says little about it." for at in range(parts)]
    words[key] = "KEY is what matters."
    order = tuple(sorted(task.grades, key=lambda id: -task.grades[id]))
    return replace(task, thought=" ".join(words), order=order)


def test_steps_that_can_be_spared_are_dropped_and_the_key_stays():
    for task in BARE[:10]:
        given = with_thought(task)
        (made,) = CompressedTraces(telling(task)).apply([given])
        (item,) = made.items
        assert item.thought == "KEY is what matters." and given.thought != item.thought
        assert [item.grades[id] for id in item.order] == sorted(item.grades.values(), reverse=True)
        assert len(made.calls) == 10  # nine single steps, and all eight at once
        (pair,) = CompressedTraces(telling(task), pairs=True).apply([given])[0].items
        assert "KEY" in pair.chosen.text and len(pair.chosen.text) < len(pair.rejected.text)


def test_steps_that_hold_only_together_are_dropped_by_halves():
    task = with_thought(BARE[0], parts=8, key=0)

    def half(query, passages, prompt):
        right = truth(TASKS)(query, passages, prompt)
        return right if prompt.prefill.count("Step") >= 3 else [-one for one in right]

    (made,) = CompressedTraces(teacher(half)).apply([task])
    (item,) = made.items
    assert item.thought.count("Step") == 3
    assert len(made.calls) <= 8 + 3


def test_rewritten_thoughts_are_accepted_only_if_the_answer_holds():
    task = with_thought(BARE[0])
    for words, reason in (("KEY decides.", ""), ("Nothing much.", "worse"), (task.thought, "not_shorter")):
        (made,) = CompressedTraces(rewriting(task, words), way="rewrite").apply([task])
        assert [item.thought for item in made.items] == ([] if reason else [words])
        assert dict(made.dropped) == ({reason: 1} if reason else {})
    mute = Fake(lambda prompt: Failed("refusal", "no"))
    assert CompressedTraces(mute, way="rewrite").apply([task])[0].dropped == {"no_candidate": 1}
    assert CompressedTraces(mute).apply([task])[0].dropped == {"no_candidate": 1}


def test_planted_duplicates_and_leaks_are_found_and_told():
    toy = load("toy")
    query = toy.queries[0]
    relevant = next(id for id, grade in toy.qrels[query.id].items() if grade > 0)
    plain = [
        RankTask(Query(f"q{at}", task.query.text), task.documents, task.grades) for at, task in enumerate(BARE[:5])
    ]
    leaks = [
        RankTask(Query("leak", f"Please tell me: {query.text} Thank you."), plain[0].documents, plain[0].grades),
        RankTask(
            Query("shown", "another question of someone else"),
            (*plain[1].documents, replace(toy.corpus[relevant], id="x")),
        ),
        RankTask(Query("twin", plain[2].query.text.upper()), plain[3].documents, plain[3].grades),
        plain[4],
    ]
    made = Deduplicated(against=("toy",)).apply([*plain, *leaks])
    assert [dict(one.dropped) for one in made[5:]] == [
        {"test_query": 1}, {"test_document": 1}, {"duplicate_query": 1}, {"duplicate_list": 1},
    ]  # fmt: skip
    assert all(len(one.items) == 1 for one in made[:5])
    assert made[5].details == {"like": f"toy {query.id}", "likeness": 1.0}
    assert made[6].details["like"] == f"toy {relevant}"
    assert len(Deduplicated(against=("toy",), documents="none").apply(leaks)[1].items) == 1


def test_a_test_query_of_few_words_is_found_alone_but_not_in_longer_ones(monkeypatch):
    test = Dataset("test", Corpus([]), (Query("t", "bee dances"),))
    monkeypatch.setattr("whyrank.data_synth.deduplicated.load", lambda name: test)
    tasks = [RankTask(Query(text, text), (Document("a", "x"),)) for text in ("Bee dances?", "why bee dances tell much")]
    same, longer = Deduplicated(against=("test",)).apply(tasks)
    assert same.dropped == {"test_query": 1} and longer.items


@pytest.mark.parametrize(
    ("long", "thought"), [(RankingFormat(), "<think></think>\n"), (RankingFormat(think="native"), "")]
)
def test_short_completions_have_an_empty_thought_or_none(long, thought):
    def answers(prompt):
        asked = "<answer>" in prompt.chat[-1]["content"]
        return Ok("<answer>[1] > [2]</answer>", "it seems so") if asked else "[2] > [1]"

    task = RankTask(Query("q", "?"), (Document("a", "one"), Document("b", "two")), {"b": 1})
    (made,) = TracePairs(Fake(answers), long=long).apply([task])
    (said,) = made.items[0].record()["chosen"]
    assert said["content"] == f"{thought}<answer>[2] > [1]</answer>"


def test_of_twins_in_a_list_the_relevant_one_stays():
    text = "the waggle dance tells other bees in the hive how far away the nectar is"
    twins = (Document("a", text), Document("b", text.title()), Document("c", "something else entirely, about trees"))
    task = RankTask(Query("q", "why do bees dance?"), twins, {"b": 1})
    (made,) = Deduplicated().apply([task])
    assert [one.id for one in made.items[0].documents] == ["b", "c"] and made.counts == {"twins": 1}
    assert Deduplicated().apply([replace(task, thought="[2] tells", order=("b", "a", "c"))])[0].dropped == {"twins": 1}


def test_tasks_come_from_documents_queries_and_runs():
    toy = load("toy")
    run = BM25().index(toy.corpus).search(toy.queries, 10)
    tasks = from_run(run, toy, depth=5)
    assert [one.query.id for one in tasks] == list(run) and all(len(one.documents) <= 5 for one in tasks)
    for task in tasks:
        assert dict(task.grades) == {id: toy.qrels[task.query.id][id] for id in task.grades}
    assert {one.query.id for one in from_queries(toy)} == set(toy.qrels)
    assert len(from_documents(toy, 7)) == 7 and from_documents(toy, 7) == from_documents(toy, 7)
    with pytest.raises(BadInput, match="is not in 'toy'"):
        from_run(Run.of({"nobody": ["x"]}), toy)


def test_short_draws_do_not_show_the_thought():
    task = BARE[0]
    (made,) = TracePairs(teacher(truth(TASKS)), margin=0.02).apply([task])
    (pair,) = made.items
    assert (
        RankingFormat(think="no").parse(pair.chosen, len(task.documents)).status == "exact"
        and "<think></think>" in pair.chosen.text
    )
    assert "so it is" in pair.rejected.text
