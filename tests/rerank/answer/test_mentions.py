"""Where a thought speaks of a passage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrank.rerank.answer.mentions import mentions


@pytest.mark.parametrize(
    ("thought", "label", "found"),
    [
        ("[1] is on honey. [2] is on dances.", "2", "[2] is on dances."),
        ("[1] is on honey. [2] is on dances.", "3", ""),
        ("Honey? Yes, [ 1 ] has it.", "1", "Yes, [ 1 ] has it."),
        ("【4】 fits.", "4", "【4】 fits."),
        ("Both [1, 3] and [5-7] fit.", "6", "Both [1, 3] and [5-7] fit."),
        ("Both [1, 3] and [5]-[7] fit.", "6", "Both [1, 3] and [5]-[7] fit."),
        ("Both [1, 3] and [5-7] fit.", "4", ""),
        ("Passages 3, 5 and 11 fit; passage 30 does not.", "3", "Passages 3, 5 and 11 fit; passage 30 does not."),
        ("Passages 13, 5 and 11 fit; passage 30 does not.", "3", ""),
        ("Documents 2 to 4 fit.", "3", "Documents 2 to 4 fit."),
        ("Doc 7's claim holds; doc8 is older.", "7", "Doc 7's claim holds; doc8 is older."),
        ("Doc 7's claim holds; doc8 is older.", "8", "Doc 7's claim holds; doc8 is older."),
        ("PASSAGE #2 fits.", "2", "PASSAGE #2 fits."),
        ("The third passage fits. The 12th document too.", "3", "The third passage fits."),
        ("The third passage fits. The 12th document too.", "12", "The 12th document too."),
        ("It took 3 days and 3.5 metres, 3% of all; see step 3.", "3", ""),
        ("Passage 3.5 metres long.", "3", ""),
        ("A bee is an animal. B vitamins help.", "A", ""),
        ("A bee is an animal. Vitamin C is good, and hepatitis C is not.", "C", ""),
        ("C is good, but D: no. Neither P nor Q.", "D", "C is good, but D: no."),
        ("C is good, but D: no. Neither P nor Q.", "Q", "Neither P nor Q."),
        ("I only read it. In the passage I read it is so.", "I", ""),
        ("[I] and [Z] fit.", "I", "[I] and [Z] fit."),
        ("Passage A explains it. Text B does not.", "B", "Text B does not."),
        ("A explains it, while B only names it.", "B", "A explains it, while B only names it."),
        ("Between A and B, it is close.", "A", "Between A and B, it is close."),
        ("The first passage is vague.", "A", "The first passage is vague."),
    ],
)
def test_labels_are_found(thought: str, label: str, found: str) -> None:
    assert mentions(thought, label) == found


def test_what_follows_without_a_label_belongs_to_it() -> None:
    thought = "[2] names the law. It also says why. That settles it. So far, so good. [1] is on honey."
    assert mentions(thought, "2") == "[2] names the law. It also says why. That settles it."
    assert mentions("[2] names the law.\nNow for the rest.", "2") == "[2] names the law."
    assert mentions("**Passage 2:**\n\n- names the law\n- says why\n\n[1]:\n- honey", "2") == (
        "**Passage 2:** - names the law - says why"
    )


def test_sentences_apart_are_joined_by_an_ellipsis() -> None:
    assert mentions("[2] is good, e.g. for bees. [1] is not. Again [2]!", "2") == (
        "[2] is good, e.g. for bees. … Again [2]!"
    )


def test_an_order_is_no_reason() -> None:
    assert mentions("Final ranking: [2] > [1] > [3]", "2") == ""
    assert mentions("[2] > [1] since it says why.", "1") == "[2] > [1] since it says why."
    assert mentions("[4] is apart, [2] > [1] > [3].", "4") == "[4] is apart, [2] > [1] > [3]."


@given(st.lists(st.text("[]123ABpassage ,.-\n>:", max_size=30)).map("".join), st.sampled_from(["1", "2", "23", "A"]))
def test_what_is_found_is_written_there(thought: str, label: str) -> None:
    for part in mentions(thought, label).split(" … "):
        assert " ".join(part.split()) in " ".join(thought.split())


@given(st.permutations(range(1, 31)))
def test_each_label_finds_its_own_sentence(order: list[int]) -> None:
    thought = " ".join(f"[{at}] is number {at} indeed." for at in order)
    assert all(mentions(thought, str(at)) == f"[{at}] is number {at} indeed." for at in order)
