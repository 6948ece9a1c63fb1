"""What the last release called otherwise: read as today's, with a warning, and in manifests without one."""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest

from whyrank import LLM, Reranker
from whyrank.errors import BadInput, BadSpec
from whyrank.experiment import rerank
from whyrank.parameters import current, parameters
from whyrank.registry import BUILTIN, Part, find, make
from whyrank.renamed import PARTS, renamed
from whyrank.rerank.formats import ChoiceFormat, GroupScoresFormat, RankingFormat
from whyrank.types import Corpus, Dataset, Document, Query

OLD = {
    "reasoned()": RankingFormat(),
    "reasoned(native=True)": RankingFormat("native"),
    "reasoned(native=False)": RankingFormat("asked"),
    "direct": RankingFormat("no"),
    "direct(constrained=True)": RankingFormat("no", constrained=True),
    "reasoned_choice(native=True)": ChoiceFormat("native"),
    "direct_choice()": ChoiceFormat("no"),
    "reasoned_scores()": GroupScoresFormat(),
    "direct_scores(constrained=True)": GroupScoresFormat("no", constrained=True),
}


@renamed(most="limit", way=("mode", {0: "slow", 1: "fast"}))
@dataclass(frozen=True)
class Named(Part):
    """A part whose fields had other names."""

    limit: int = 3
    mode: str = "slow"


@pytest.mark.parametrize("old", PARTS)
def test_each_old_name_leads_to_a_part_of_today(old: str) -> None:
    new, stood = PARTS[old]
    assert old not in BUILTIN and new in BUILTIN and find(old) is find(new)
    assert stood.keys() <= find(new).__dataclass_fields__.keys()


@pytest.mark.parametrize("spec", OLD)
def test_old_specs_read_the_same_and_say_so(spec: str) -> None:
    with pytest.warns(UserWarning, match=r"is now (ranking|choice|group_scores)\(.*; the old name goes"):
        assert make(spec) == OLD[spec]


def test_old_names_are_read_wherever_they_stand() -> None:
    with (
        pytest.warns(UserWarning, match="mergetree is now merge_tree"),
        pytest.warns(UserWarning, match="direct is now"),
    ):
        part = make("cascade(mergetree(fake(), format=direct()), topdown(fake(), format=reasoned))", Reranker)
    assert repr(part) == "cascade(merge_tree(fake(), format=ranking(think='no')), top_down(fake()))"


def test_new_specs_warn_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for part in OLD.values():
            assert make(repr(part)) == part


def test_what_an_old_name_stood_for_is_not_given_twice() -> None:
    with pytest.warns(UserWarning), pytest.raises(BadSpec, match="'think' is given twice"):
        make("direct(think='asked')")


def test_an_old_name_of_another_kind_is_refused_by_the_name_of_today() -> None:
    with pytest.warns(UserWarning), pytest.raises(BadSpec, match="'top_down' is a Reranker, but an LLM is wanted"):
        make("topdown(fake())", LLM)


@pytest.mark.parametrize(
    ("given", "limit", "mode"), [({"most": 5}, 5, "slow"), ({"way": 1}, 3, "fast"), ({"way": 9}, 3, 9)]
)
def test_old_fields_are_taken_in_python(given: dict[str, int], limit: int, mode: str) -> None:
    with pytest.warns(UserWarning, match=r"Named: (most|way)= is now (limit|mode)="):
        if mode == 9:
            with pytest.raises(BadSpec, match="mode must be a string, not 9"):
                Named(**given)  # type: ignore[arg-type]
        else:
            assert Named(**given) == Named(limit, mode)  # type: ignore[arg-type]


FIELDS = {
    "adaptive(fake(), settled=3)": "adaptive(fake(), min_uncertain=3)",
    "agentic(bm25(), fake(), shown=3)": "agentic(bm25(), fake(), per_query=3)",
    "draws(times=3, least=0.2)": "draws(per_query=3, min_ndcg=0.2)",
    "entropy(above=(0.3,))": "entropy(thresholds=(0.3,))",
    "gate(most=0.3)": "gate(max_formal=0.3)",
    "group_labels(fake(), least=0.1)": "group_labels(fake(), min_ndcg=0.1)",
    "hard_queries(fake(), times=3)": "hard_queries(fake(), per_document=3)",
    "keywords(fake(), most=3)": "keywords(fake(), max_keywords=3)",
    "margin(below=(0.3,))": "margin(thresholds=(0.3,))",
    "pseudo_query(encoder_rerank('minilm'), shown=3)": "pseudo_query(encoder_rerank('minilm'), passages=3)",
    "repeat(times=3)": "repeat(n=3)",
    "subqueries(fake(), most=3)": "subqueries(fake(), max_queries=3)",
    "swing(most=3)": "swing(max_users=3)",
    "teacher_rankings(fake(), least=0.1)": "teacher_rankings(fake(), min_ndcg=0.1)",
}


@pytest.mark.parametrize("old", FIELDS)
def test_old_fields_are_taken_from_specs(old: str) -> None:
    with pytest.warns(UserWarning, match=r"= is now \w+=; the old name goes with the next release"):
        assert repr(make(old)) == FIELDS[old]


def test_a_field_is_not_given_by_both_names() -> None:
    with pytest.warns(UserWarning), pytest.raises(TypeError, match="limit is given twice, once by its old name most"):
        Named(most=1, limit=2)  # type: ignore[call-arg]


def test_manifests_are_read_by_the_names_of_today() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        old = {
            "part": "mergetree",
            "llm": {"part": "fake", "answer": ""},
            "format": {"part": "direct", "constrained": True},
        }
        now = current(old)
    assert now["part"] == "merge_tree" and now["window"] == 20
    assert now["format"] == {"part": "ranking", "constrained": True, "think": "no"}
    for part in OLD.values():
        told = json.loads(json.dumps(parameters(part)))
        assert current(told) == told and list(current(told)) == list(told)


@pytest.mark.parametrize(
    "other", [{"part": "nobodys"}, {"part": 7}, {"part": None, "k": [1, {"a": "direct"}]}, "reasoned", 3, None, []]
)
def test_what_is_no_part_stays_as_it_is(other: object) -> None:
    assert current(other) == other


def test_specs_inside_of_settings_are_renewed() -> None:
    with pytest.warns(UserWarning):
        assert current({"format": "reasoned()", "rewards": [{"spec": "ndcg(format=direct())"}]}) == {
            "format": "ranking()",
            "rewards": [{"spec": "ndcg(format=ranking(think='no'))"}],
        }
    assert current("direct( is no spec)") == "direct( is no spec)"


def test_a_run_under_old_names_is_gone_on_with(tmp_path: Path) -> None:
    data = Dataset("d", Corpus([Document("a", "x"), Document("b", "y")]), (Query("q", "why"),))
    (tmp_path / "first.trec").write_text("q Q0 a 1 2.0 r\nq Q0 b 2 1.0 r\n")
    part = make("merge_tree(fake('[2] > [1]'), format=ranking(think='no'))", Reranker)
    rerank(tmp_path / "first.trec", part, data, tmp_path / "run")
    manifest = tmp_path / "run" / "manifest.json"
    told = json.loads(manifest.read_text())
    told["task"]["part"] |= {"part": "mergetree", "format": {"part": "direct", "constrained": False}}
    told["task"]["spec"] = "mergetree(fake(answer='[2] > [1]'), format=direct())"
    manifest.write_text(json.dumps(told))
    rerank(tmp_path / "first.trec", part, data, tmp_path / "run")
    told["task"]["part"]["format"]["constrained"] = True
    manifest.write_text(json.dumps(told))
    with pytest.raises(BadInput, match="holds another"):
        rerank(tmp_path / "first.trec", part, data, tmp_path / "run")
