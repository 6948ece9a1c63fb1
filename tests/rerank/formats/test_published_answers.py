"""Published answers, read as their authors read them, as far as a format here covers them; each difference by name."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from whyrank.llm.answer import Ok
from whyrank.registry import make
from whyrank.rerank.formats import Format, parse_choice, parse_permutation, parse_scores

ANSWERS = Path(__file__).parents[3].parent / "shared" / "data" / "checkpoints" / "answers"
pytestmark = pytest.mark.skipif(not ANSWERS.is_dir(), reason="the published answers are not here")


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (ANSWERS / name).read_text(encoding="utf-8").split("\n") if line]


def test_600_scores_of_tfrank() -> None:
    rows = lines("tfrank_rank_results.jsonl")
    format: Format[Any] = make("yes_no(think='no')", Format)
    for row in rows:
        yes = row["authors_score"]["yesno"]
        place = {token: math.log(chance) for token, chance in (("yes", yes), ("no", 1 - yes)) if chance > 0}
        found = format.parse(Ok(row["output"], logprobs=(place, {"(": 0.0})), 1)
        assert found.score == pytest.approx(yes, abs=1e-9), row["output"]
        bare = format.parse(Ok(row["output"]), 1)
        assert bare.score == float(row["output"].startswith("yes"))
        assert found.status == bare.status == "repaired"  # the grade behind the word was not asked for
    assert len(rows) == 600


def test_training_answers_of_tfrank() -> None:
    """Ties stand as they are written; `<` has the worst first; pairs and lists, with thought and without."""
    read = 0
    for row in lines("tfrank_training_answers.jsonl"):
        parsed, n = row["parsed"], row["n"]
        if isinstance(parsed, str):
            found = make("yes_no(think='no')", Format).parse(Ok(row["output"]), 1)
            assert found.score == float(parsed.startswith("yes")), row["output"]
        else:
            groups = (
                parsed[0] if isinstance(parsed[0], list) and parsed[0] and isinstance(parsed[0][0], list) else parsed
            )
            if isinstance(groups[0], list):
                wanted = [number - 1 for group in groups for number in group]
            else:
                labels = [int(one) for one in groups if isinstance(one, str) and one.isdigit()]
                wanted = [number - 1 for number in (labels[::-1] if "<" in groups else labels)]
            answer = parse_permutation(row["output"], n)
            assert list(answer.permutation) == wanted, row["answer_part"]
            assert answer.status == ("repaired" if "<" in groups else "exact"), row["answer_part"]
        read += 1
    assert read == 192


LISTS = {
    # The authors take numbers out of prose, thoughts, tags of other formats and JSON; what they get there is no order.
    "prose before, with numbers": "they read the 5 of 'There are 5 passages' as a label",
    "answer tag, thought tag missing": "they read the [5] of the prose before the tag",
    "thought never closed": "they rank by a thought that was cut off",
    "two answers": "they take the first block, here the last counts",
    "less than": "they read the worst first as best first",
    "numbered lines": "they read the lines' numbers as labels",
    "JSON map of scores in answer": "they read a map in the order of its keys, not by its scores",
    "JSON map of scores, no fence": "likewise",
    "JSON map of scores, brace missing": "likewise",
    "JSON map, a bracket too many": "likewise",
    "JSON map, two missing, one of 11": "likewise",
    "JSON map, halves": "likewise",
    "TFRank list with scores": "they read the scores in round brackets as labels",
    "score tag": "they read a grade as a label", "score tag with words": "likewise", "two score tags": "likewise",
    "integer in answer": "likewise",
}  # fmt: skip


def test_lists_of_rank_llm() -> None:
    differ = set()
    rows = [row for row in lines("parsers_rankllm.jsonl") if "ranking" in row][:58]
    for row in rows:
        answer = parse_permutation(row["text"], row["n"])
        if list(answer.permutation) != row["ranking"]:
            differ.add(row["name"])
    assert differ <= set(LISTS), differ - set(LISTS)
    assert len(rows) - len(differ) >= 40


def test_choices_of_rank_r1() -> None:
    for row in lines("parsers_rankr1.jsonl"):
        if row["choice"].startswith("["):
            choice = parse_choice(row["text"], row["n"])
            wanted = int(row["choice"].strip("[]"))
            assert choice.best == (wanted - 1 if wanted <= row["n"] else None), row["text"]
    (row,) = lines("rank_r1_readme.jsonl")
    assert parse_choice(row["output"], row["n"]).best == 5


def test_scores_of_grouprank() -> None:
    """The authors divide by ten, and give a group zeros that has one bad key; here only that key is missing."""
    exact = 0
    for row in lines("parsers_grouprank.jsonl"):
        wanted = [row["scores"].get(str(at), 0.0) * 10 for at in range(row["n"])]
        if any(wanted):
            scores = parse_scores(row["text"], row["n"])
            told = [0.0 if math.isnan(score) else score for score in scores.scores]
            assert told == pytest.approx(wanted), row["name"]
            exact += scores.status == "exact"
    assert exact
    for row in lines("grouprank_sft_example.jsonl"):
        assert parse_scores(row["output"], row["n"]).status == "exact"


def test_refusals_of_a_small_model() -> None:
    for row in lines("birco_rankgpt_llama7b.jsonl"):
        assert list(parse_permutation(row["output"], row["n"]).permutation) == row["ranking"]
