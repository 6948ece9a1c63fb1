"""58 answers, read by the parsers of published rerankers: each reading is ours too, or differs for a reason by name."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from whyrank.llm.answer import Ok
from whyrank.llm.messages import Sampling
from whyrank.registry import make
from whyrank.rerank.formats import Format, parse_permutation

ANSWERS = Path(__file__).parents[3].parent / "shared" / "data" / "checkpoints" / "answers"
pytestmark = pytest.mark.skipif(not ANSWERS.is_dir(), reason="the published answers are not here")


def rows(name: str, parser: str = "") -> list[dict[str, Any]]:
    lines = (ANSWERS / f"{name}.jsonl").read_text(encoding="utf-8").split("\n")
    read = [json.loads(line) for line in lines if line]
    return [row for row in read if row.get("parser", "") == parser] if parser else read


MEANT = {
    "missing two": [3, 1, 2, 4, 5],
    "answer never closed": [3, 1, 2, 4, 5],
    "JSON map, a bracket too many": [3, 1, 2, 4, 5],
    "JSON map, two missing, one of 11": [3, 1, 2, 4, 5],
    "one label": [3, 1, 2, 4, 5],
    "one label in answer": [3, 1, 2, 4, 5],
    "one label in answer with blanks": [3, 1, 2, 4, 5],
    "bare label in answer": [3, 1, 2, 4, 5],
    "two labels in answer": [3, 1, 2, 4, 5],
    "cut off in a number above nine": [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1],
}
"""What an answer says, where that is not 3, 1, 2, 5, 4."""

SILENT = {
    "thought never closed", "letters", "letters without brackets", "label out of range in answer", "refusal",
    "empty", "blank", "score tag", "score tag with words", "two score tags", "score above 100", "integer in answer",
    "error text",
}  # fmt: skip
"""What says no order by numbers: the input order stands, and is counted as no answer."""


def test_each_answer_is_read_as_it_is_meant() -> None:
    read = rows("parsers_old", "rank_llm_old")
    for row in read:
        found = parse_permutation(row["text"], row["n"])
        silent = row["name"] in SILENT
        wanted = list(range(1, row["n"] + 1)) if silent else MEANT.get(row["name"], [3, 1, 2, 5, 4])
        assert [at + 1 for at in found.permutation] == wanted, row["name"]
        assert (found.status in {"no_answer", "truncated"} and found.missing == row["n"]) is silent, row["name"]
    assert len(read) == 58


# They take all numbers that there are, wherever they stand.
COUNTS = {"prose before, with numbers"}
PROSE = {"answer tag, thought tag missing"}
CUT_THOUGHT = {"thought never closed"}
UNTAGGED_THOUGHT = {"thought, then list"}
THOUGHTS = {"thought and answer tags", "thought and answer tags, line breaks", "answer never closed"}
QUOTED = {"answer quoted inside the thought"}
MAPS = {  # a map of scores in the order of its keys
    "JSON map of scores in answer", "JSON map of scores, no fence", "JSON map of scores, brace missing",
    "JSON map, a bracket too many", "JSON map, two missing, one of 11", "JSON map, halves",
}  # fmt: skip
NUMBERED = {"numbered lines"}
GRADED = {"TFRank list with scores"}
# They take the first of two answers, here the last counts; the worst first for the best; and no digits but ASCII's.
FIRST_OF_TWO, ASCENDING, DIGITS = {"two answers"}, {"less than"}, {"superscript digits", "circled digits"}

ALL_NUMBERS = COUNTS | CUT_THOUGHT | FIRST_OF_TWO | ASCENDING | DIGITS | NUMBERED | MAPS | GRADED

# Rank-K's parser takes the last line alone, only where labels stand between `>` and `=`, and stops at the first that is
# none or comes twice; `[0]` names the last passage.
NOT_THE_LAST_LINE = {
    "prose after, with numbers", "thought and answer tags, line breaks", "numbered lines",
    "JSON map of scores in answer", "Rank-K: list, then a remark line",
}  # fmt: skip
NO_GREATER = {
    "commas", "one bracket", "less than", "JSON map of ranks", "PASSAGE ids", "two labels in answer",
    "one label in answer", "one label in answer with blanks", "bare label in answer", "JSON map of scores, no fence",
    "JSON map of scores, brace missing", "JSON map, a bracket too many", "JSON map, two missing, one of 11",
    "JSON map, halves",
}  # fmt: skip
NO_LABEL = {
    "prose before, with numbers", "twice", "out of range", "wide brackets", "superscript digits", "circled digits",
    "range", "rankstart", "two answers", "answer quoted inside the thought", "TFRank list with scores",
}  # fmt: skip

DIFFER = {
    ("parsers_old", "rank_llm_old"): ALL_NUMBERS | PROSE | UNTAGGED_THOUGHT | THOUGHTS | QUOTED,
    ("parsers_rankgpt", "rank_gpt"): ALL_NUMBERS | PROSE | UNTAGGED_THOUGHT | THOUGHTS | QUOTED,
    ("parsers_rankgpt", "rearank"): ALL_NUMBERS | QUOTED,
    ("parsers_rankgpt", "dear"): ALL_NUMBERS | PROSE,
    ("parsers_reasonrank", "reasonrank"): ALL_NUMBERS | UNTAGGED_THOUGHT,
    ("parsers_reasonrank", "reasonrank_rankk_mode"): ALL_NUMBERS | PROSE | UNTAGGED_THOUGHT | THOUGHTS | QUOTED,
    ("parsers_rankk", "rank_k"): NOT_THE_LAST_LINE | NO_GREATER | NO_LABEL,
}


@pytest.mark.parametrize(("file", "parser"), DIFFER, ids=lambda name: name)
def test_orders_are_the_authors_but_where_they_read_what_is_no_order(file: str, parser: str) -> None:
    differ = set()
    for row in rows(file, parser):
        same = list(parse_permutation(row["text"], row["n"]).permutation) == row.get("ranking")
        differ |= set() if same else {row["name"]}
        assert ("raises" in row) <= (row["name"] in DIGITS)
    assert differ == DIFFER[file, parser]


def test_scores_of_rank_k_fall_along_the_order() -> None:
    """It scores by 1 / rank, ties alike, which strategies here do by themselves."""
    read = 0
    for row in rows("parsers_rankk", "rank_k_scores"):
        order = parse_permutation(row["text"], row["n"]).permutation
        if row["name"] not in DIFFER["parsers_rankk", "rank_k"]:
            scores = [row["scores"].get(str(at), 0.0) for at in order]
            assert scores == sorted(scores, reverse=True), row["name"]
            read += any(scores)
    assert read == 15


def test_ties_are_kept_in_the_order_in_which_they_were_written() -> None:
    for row in rows("parsers_tfrank"):
        groups = row["parsed"]["id_only"] or []
        wanted = [label - 1 for group in groups for label in group]
        found = parse_permutation(row["text"], row["n"])
        if row["name"] in ASCENDING | {"JSON map of scores, no fence"}:  # they read the worst first, or the keys
            assert list(found.permutation) != wanted
        elif row["name"] == "prose after, with numbers":  # they read the label in it once more
            assert list(found.permutation) == wanted[:-1]
        else:
            told = [label for label in dict.fromkeys(wanted) if 0 <= label < row["n"]]
            assert list(found.permutation)[: len(told)] == told, row["name"]
    (scored,) = (row for row in rows("parsers_tfrank") if row["parsed"]["id_score"][0])
    grades = scored["parsed"]["id_score"][1]
    along = [grades[str(at + 1)] for at in parse_permutation(scored["text"], 5).permutation]
    assert along == sorted(along, reverse=True) and scored["name"] in GRADED


@pytest.mark.parametrize("think", ["no", "native", "asked"])
def test_letters_are_read_where_letters_were_asked_for(think: str) -> None:
    format: Format[Any] = make(f"first(think={think!r})", Format)
    read = set()
    for row in rows("parsers_old", "rank_llm_old_alpha"):
        found = format.parse(Ok(row["text"]), row["n"])
        assert list(found.permutation) == row["ranking"], row["name"]
        read |= {row["name"]} if found.status == "repaired" else set()
    assert read == {"letters", "letters without brackets"}


@pytest.mark.parametrize("name", ["letters", "spellings with a blank do not count", "lower case and beyond the window"])
def test_letters_have_the_authors_order_by_their_log_probabilities(name: str) -> None:
    (row,) = (row for row in rows("first_logprobs") if row["name"] == name and row["use_alpha"])
    assert (
        _letters(row)
        == {
            "letters": "CABED",  # all five
            "spellings with a blank do not count": "CAB",  # here they do: some tokenizers have no other
            "lower case and beyond the window": "AB",
        }[name]
    )


def test_so_have_all_others() -> None:
    seen = 0
    for row in rows("first_logprobs"):
        if row["use_alpha"] and "with a blank" not in row["name"]:
            assert _letters(row) == "".join(filter(str.isalpha, row["string"])), row["name"]
            seen += 1
    assert seen == 6


def _letters(row: dict[str, Any]) -> str:
    best = max(row["top_logprobs"], key=row["top_logprobs"].get)
    found = make("first()", Format).parse(Ok(best, logprobs=(row["top_logprobs"],)), 5)
    return "".join("ABCDE"[at] for at in found.permutation[: 5 - found.missing])


def test_grades_of_retro() -> None:
    format: Format[Any] = make("rubric()", Format)
    found = {}
    for row in rows("parsers_retro"):
        graded = format.parse(Ok(row["text"]), 1)
        if not math.isnan(graded.score) or row["score"]:
            found[row["name"]] = (row["score"], graded.score, graded.status)
    assert found.pop("score tag") == (85.0, 85.0, "exact")
    assert found.pop("score tag with words") == (0.0, 85.0, "repaired")  # they take a bare number only
    assert found.pop("two score tags") == (20.0, 85.0, "exact")  # they take the first, here the last counts
    theirs, ours, status = found.pop("score above 100")
    assert theirs == 850.0 and math.isnan(ours) and status == "no_answer"  # what is on no scale is no grade
    assert not found  # all else is a 0 to them, and no answer here: asked again, and counted


@pytest.mark.parametrize("row", rows("tfrank_logprobs") if ANSWERS.is_dir() else [], ids=lambda row: row["name"])
def test_log_probabilities_of_tfrank(row: dict[str, Any]) -> None:
    text = "".join(token["token"] for token in row["tokens"])
    places = tuple(token["top_logprobs"] for token in row["tokens"])
    graded = make("yes_no(think='no')", Format).parse(Ok(text, logprobs=places), 1)
    if row["yesno"] is None:  # no grade follows the word, and they read nothing
        assert graded.score == pytest.approx(math.exp(-0.1) / (math.exp(-0.1) + math.exp(-2.5)))
    elif row["name"] == "Yes with capital":  # they take the first spelling that they find, be it the less likely
        chances = {token: math.exp(chance) for token, chance in places[0].items()}
        yes = chances["Yes"] + chances["yes"]
        assert graded.score == pytest.approx(yes / (yes + chances["No"])) and row["yesno"]["yes"] < 0.01
    else:
        assert graded.score == pytest.approx(row["yesno"]["yes"])


def _place(told: dict[str, float] | None) -> tuple[dict[str, float], ...]:
    """The last token's alternatives, with the words in place of Rank1's ids: 830 is true, 895 is false."""
    words = {"830": "yes", "895": "no"}
    return () if told is None else ({words.get(id, f"<{id}>"): chance for id, chance in told.items()},)


@pytest.mark.parametrize("row", rows("rank1_scores") if ANSWERS.is_dir() else [], ids=lambda row: row["name"])
def test_scores_of_rank1(row: dict[str, Any]) -> None:
    """After a whole thought by the word; after one that was cut off by one further token, in the same turn."""
    format: Format[Any] = make("yes_no()", Format)
    prompt = format.render("x", ["y"], Sampling())
    first, *forced = row["script"]
    places = _place(first["logprobs_of_last_token"])
    if not forced:
        word = max(places[0], key=places[0].__getitem__)
        said = Ok(f"<think>{first['text']}</think><answer>{word}</answer>", logprobs=places)
        assert format.parse(said, 1).score == pytest.approx(row["score"])
        return
    cut = Ok(f"<think>{first['text']}", finish="length")
    assert math.isnan(format.parse(cut, 1).score)
    again = format.again(prompt, cut)
    thought = row["calls"][1]["prompt"].partition("<think>\n")[2].removesuffix("\n</think>")
    assert again.prefill == f"<think>\n{thought}\n</think>\n\n<answer>" and again.sampling.max_tokens == 1
    places = _place(forced[0]["logprobs_of_last_token"])
    word = max(places[0], key=places[0].__getitem__)
    score = format.parse(format.whole(again, Ok(word, logprobs=places)), 1).score
    if len(places[0]) == 2:
        assert score == pytest.approx(row["score"])
    else:  # one of the two words is not among the alternatives: they give up at a half
        assert (score, row["score"]) == (1.0, 0.5)
