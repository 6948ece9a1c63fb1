"""Specs: what is written is read again, what is wrong is named, and nothing but parts is ever built."""

import importlib
import math
import os
import subprocess
import sys
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrank import registry
from whyrank.builtin import PARTS
from whyrank.errors import BadInput, BadSpec
from whyrank.fields import INFINITE
from whyrank.llm.engine import LLM
from whyrank.llm.fake import Fake
from whyrank.llm.messages import Sampling
from whyrank.parameters import parameters, walk
from whyrank.registry import BUILTIN, Part, find, make, name_of, variadic
from whyrank.rerank.base import Reranker
from whyrank.rerank.formats import RankingFormat
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.retrieval.base import Retriever
from whyrank.retrieval.vector.dense import Dense


@dataclass(frozen=True)
class Leaf(Part):
    number: Annotated[float, INFINITE]
    word: str = "a"
    words: tuple[str, ...] = ()
    flag: bool = False
    choice: Literal["x", "y"] = "x"
    count: int | None = None
    doubled: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "doubled", 2 * self.number)


@variadic
@dataclass(frozen=True)
class Branches(Part):
    parts: tuple[Part, ...]
    label: str = field(default="b", kw_only=True)
    several: tuple[int, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class Knots(Branches):
    """Derived without being variadic itself: takes its tuple as a tuple."""


class Named(Protocol):
    name: str


@dataclass(frozen=True)
class Tree(Part):
    left: Part
    right: Part
    deep: tuple[Any, ...] = field(default=(), kw_only=True)
    leaf: Leaf = field(default_factory=lambda: Leaf(1.0))
    label: str = field(kw_only=True)
    named: Named | None = None


TEXT = st.text() | st.sampled_from(["it's", 'say "no"', "a\\b", "\ud800", "\x00", "f(x)", "[1, 2]", "vllm('m')", "inf"])
FLOATS = st.floats(allow_nan=False)
LEAVES = st.builds(
    Leaf, FLOATS, TEXT, st.lists(TEXT).map(tuple), st.booleans(), st.sampled_from(["x", "y"]), st.none() | st.integers()
)
VALUES = st.none() | st.booleans() | st.integers() | FLOATS | TEXT | st.binary() | LEAVES
DEEP = st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3).map(tuple)).filter(
    lambda value: isinstance(value, tuple)
)
TREES = st.recursive(
    LEAVES, lambda inner: st.builds(Tree, inner, inner, deep=DEEP, leaf=LEAVES, label=TEXT), max_leaves=6
)
BRANCHES = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(
            lambda parts, **named: Branches(*parts, **named),
            st.lists(inner, max_size=3),
            label=TEXT,
            several=st.lists(st.integers(), max_size=2).map(tuple),
        )
        | st.builds(Knots, st.lists(inner, max_size=3).map(tuple), label=TEXT)
    ),
    max_leaves=6,
)
SAMPLINGS = st.builds(
    Sampling,
    temperature=st.floats(0, 2),
    max_tokens=st.integers(1, 10**6),
    seed=st.none() | st.integers(),
    stop=st.lists(TEXT, max_size=2).map(tuple),
)
LISTWISE = st.builds(
    Listwise,
    st.builds(Fake, TEXT),
    window=st.integers(20, 100),
    stride=st.none() | st.integers(1, 20),
    format=st.builds(RankingFormat, st.sampled_from(["asked", "native", "no"])),
    sampling=SAMPLINGS,
)


@pytest.fixture
def fresh_names() -> Iterator[None]:
    registry._names.cache_clear()
    yield
    registry._names.cache_clear()


@given(TREES | BRANCHES | SAMPLINGS | LISTWISE)
def test_what_is_written_is_read_again(part: Part) -> None:
    again = make(repr(part))
    assert again == part and repr(again) == repr(part) and type(again) is type(part)


def test_a_spec_says_what_differs_and_no_more() -> None:
    assert repr(Sampling()) == "sampling()"
    assert repr(Listwise(Fake("[1]"), window=10)) == "listwise(fake(answer='[1]'), window=10)"
    assert repr(Leaf(1.0, flag=True)) == f"{__name__}.Leaf(1.0, flag=True)"
    tree = Tree(Leaf(1.0), Leaf(2.0), label="l")
    assert repr(tree) == f"{__name__}.Tree({__name__}.Leaf(1.0), {__name__}.Leaf(2.0), label='l')"


def test_arguments_by_position_and_by_protocol() -> None:
    leaf = f"{__name__}.Leaf"
    tree = make(f"{__name__}.Tree({leaf}(1), {leaf}(2), {leaf}(3), label='l', named=ranking(think='no'))")
    assert tree == Tree(Leaf(1), Leaf(2), Leaf(3), label="l", named=RankingFormat(think="no"))  # type: ignore[arg-type]


def test_parts_one_by_one() -> None:
    leaf, name = f"{__name__}.Leaf", f"{__name__}.Branches"
    pair = Branches(Leaf(1.0), Leaf(2.0), label="l")
    assert pair.parts == (Leaf(1.0), Leaf(2.0))
    assert repr(pair) == f"{name}({leaf}(1.0), {leaf}(2.0), label='l')"
    assert make(f"{name}({leaf}(1), label='l')") == Branches(Leaf(1), label="l")
    assert repr(Knots((Leaf(1.0),))) == f"{__name__}.Knots(({leaf}(1.0),))"
    assert replace(pair, label="b") == Branches(*pair.parts) == Branches(parts=pair.parts)
    assert list(walk(pair)) == [pair, *pair.parts]
    assert parameters(pair)["parts"][1]["number"] == 2.0
    with pytest.raises(BadSpec, match="each of parts must be a Part, not 1"):
        make(f"{name}(1)")
    with pytest.raises(BadSpec, match="multiple values for argument 'parts'"):
        make(f"{name}({leaf}(1), parts=({leaf}(2),))")


def test_infinity_has_a_literal() -> None:
    assert repr(Leaf(math.inf)).endswith("Leaf(1e999)")
    assert make(repr(Leaf(-math.inf, "inf"))) == Leaf(-math.inf, "inf")


@pytest.mark.parametrize(
    "spec",
    [
        "sampling(stop=['a', 'b'])",
        "sampling(stop=('a', 'b'),)",
        " sampling(\n  stop=('a',\n 'b'),\n)\n",
        "sampling(stop=('a', 'b'))",
    ],
)
def test_lists_and_line_breaks_are_welcome(spec: str) -> None:
    assert make(spec) == Sampling(stop=("a", "b"))


def test_a_bare_name_is_a_call() -> None:
    assert make("ranking") == RankingFormat()
    assert make("listwise(fake, format=ranking)") == Listwise(Fake(), format=RankingFormat())


def test_parameters_unfold_every_part_with_its_defaults() -> None:
    unfolded = parameters(make("listwise(fake(), window=10)"))
    assert unfolded["part"] == "listwise" and unfolded["window"] == 10 and unfolded["max_passage_tokens"] == 512
    assert unfolded["llm"]["part"] == "fake" and unfolded["format"] == {
        "part": "ranking",
        "constrained": False,
        "think": "asked",
    }
    assert unfolded["sampling"]["stop"] == []


def test_a_function_in_a_part_cannot_be_written_down() -> None:
    with pytest.raises(BadSpec, match="fake: 'answer' is a function"):
        parameters(Listwise(Fake(lambda prompt: "[1]")))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("listwse(fake())", "no part is called 'listwse': did you mean 'listwise'?"),
        ("BM25()", "did you mean 'bm25'?"),
        ("Listwise(fake())", "did you mean 'listwise'?"),
        ("quux()", ", bm25, bm25q, "),
        ("listwise(fake(), windw=3)", "listwise(...) takes no 'windw': did you mean 'window'?"),
        ("ranking(think='no', colour='red')", "ranking(...) takes no 'colour'; it takes constrained, think"),
        ("sampling(colour=1)", "it takes temperature, max_tokens, "),
        ("listwise()", "missing 1 required positional argument: 'llm'"),
        ("listwise(fake(), llm=fake())", "multiple values for argument 'llm'"),
        ("ranking(1, 2)", "takes from 1 to 2 positional arguments but 3 were given"),
        ("listwise('Qwen')", "listwise: llm must be an LLM, such as openai('Qwen'), not 'Qwen'"),
        ("listwise(fake(), format='ranking')", "listwise: format must be a Format, such as ranking(), not 'ranking'"),
        ("listwise(fake(), format='ranking(think=1)')", "must be a Format, such as ranking(think=1), not"),
        (
            "rewritten(bm25(), hyde(fake()), combine='Append')",
            "rewritten: combine must be a Combine or None, such as append(), not 'Append'",
        ),
        ("deduplicated(against='toy')", "against must be a tuple of strings, such as ('toy',), not 'toy'"),
        ("listwise(fake(), format=sampling())", "listwise: format must be a Format, not sampling()"),
        ("listwise(fake(), window='20')", "listwise: window must be an int, not '20'"),
        ("listwise(fake(), window=20.5)", "listwise: window must be an int, not 20.5"),
        ("sampling(seed=True)", "sampling: seed must be an int or None, not True"),
        ("sampling(stop=(1,))", "sampling: each of stop must be a string, not 1"),
        ("sampling(stop='a')", "sampling: stop must be a tuple of strings, such as ('a',), not 'a'"),
        (f"{__name__}.Leaf(1, choice='z')", "Leaf: choice must be 'x' or 'y', not 'z'"),
        ("sampling(temperature=1 + 1)", "'1 + 1' is neither a literal nor a part"),
        ("sampling(temperature=[x for x in y])", "is neither a literal nor a part"),
        ("sampling(stop=f'{1}')", "is neither a literal nor a part"),
        ("sampling(**{'seed': 1})", "** is not allowed"),
        ("listwise(*x)", "is neither a literal nor a part"),
        ("sampling(", "cannot read the spec 'sampling('"),
        ("", "cannot read the spec '': it is empty"),
        ("ranking() ranking()", "cannot read the spec 'ranking() ranking()': invalid syntax"),
        ("3", "expected a name or name(arguments), found '3'"),
        ("(lambda: 1)()", "expected a name or name(arguments)"),
        ("sampling()()", "expected a name or name(arguments)"),
        ("sampling\x00()", "cannot read the spec"),
        ("-" * 100_000 + "1", "cannot read the spec"),
        ("a(" * 5_000, "cannot read the spec"),
        ("sampling(seed=" + "-" * 2_000 + "1)", "cannot read the spec"),
    ],
)
def test_a_wrong_spec_is_named(spec: str, message: str) -> None:
    with pytest.raises(BadSpec) as error:
        make(spec)
    assert message in str(error.value) and "<unknown>" not in str(error.value)


@pytest.mark.parametrize(
    "spec",
    [
        "os.system('touch spec-was-run')",
        "__import__('os').system('touch spec-was-run')",
        "builtins.eval('1')",
        "subprocess.Popen(['touch', 'spec-was-run'])",
        "listwise(os.system('touch spec-was-run'))",
        "sampling(stop=(os.system('touch spec-was-run'),))",
        "whyrank.registry.make('ranking')",
        "whyrank.registry.Part()",
        "whyrank.llm.answer.Ok('text')",
    ],
)
def test_nothing_but_parts_is_built(spec: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadSpec):
        make(spec)
    assert not os.listdir(tmp_path)


def test_a_part_that_refuses_its_values_says_why() -> None:
    with pytest.raises(BadInput, match="window must be at least 2, not 1"):
        make("listwise(fake(), window=1)")


def test_the_kind_that_is_wanted() -> None:
    assert make("fake()", LLM) == Fake()
    with pytest.raises(BadSpec, match="'fake' is an LLM, but a Reranker is wanted here"):
        make("fake()", Reranker)


@pytest.mark.parametrize("base", PARTS)
def test_the_table_knows_the_kind_of_each_part(base: str) -> None:
    module, _, name = base.partition(":")
    kind = getattr(importlib.import_module(module), name)
    assert all(issubclass(find(part), kind) for part in PARTS[base])
    if kind is not Part:
        assert {part for part in BUILTIN if issubclass(find(part), kind)} == set(PARTS[base])
        assert {part for part in registry._names(kind) if part in BUILTIN} == set(PARTS[base])


def test_a_wrong_name_is_answered_with_the_parts_of_the_kind_that_is_wanted() -> None:
    with pytest.raises(BadSpec, match="no part is called 'quux'") as error:
        make("quux()", LLM)
    assert error.value.args[0].endswith("; known parts: budget, fake, noisy, openai, transformers, vllm")
    with pytest.raises(BadSpec, match="did you mean 'listwise'"):
        make("listwse(fake())", Reranker)
    with pytest.raises(BadSpec, match="no part is called 'listwse'; known parts: agentic, all_documents, b"):
        make("listwse(fake())", Retriever)
    for spec, known in {
        "listwise(quux())": "budget, fake, noisy, openai, transformers, vllm",
        "rewritten(bm25(), hyde(fake()), combine=quux)": "append, fuse_original, gate, repeat, replace",
        "cascade(listwise(fake()), quux())": "adaptive, cascade, consensus, ",
        "route(listwise(fake()), setwise(fake()), by=quux())": "difficulty, entropy, margin",
    }.items():
        with pytest.raises(BadSpec, match=f"no part is called 'quux'; known parts: {known}"):
            make(spec)
    with pytest.raises(BadSpec, match=r"'bm25\(\)' is a BM25, but a Dense is wanted here"):
        make("bm25()", Dense)


def test_what_is_of_another_kind_is_not_imported() -> None:
    asked = (
        "import sys\nfrom whyrank.errors import BadSpec\nfrom whyrank.fusion import Fusion\n"
        "from whyrank.registry import make, make_from_file\n"
        "for build in (lambda: make('tree(fake())', Fusion), lambda: make_from_file('tree(fake())', Fusion, 'f')):\n"
        "    try:\n        build()\n    except BadSpec as error:\n        print(error)\n"
        "print(any(name.startswith('whyrank.retrieval') for name in sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == [
        "'tree' is a Retriever, but a Fusion is wanted here",
        "f: 'tree' is a Retriever, but a Fusion is wanted here",
        "False",
    ]


def test_dotted_path() -> None:
    assert make("whyrank.rerank.formats.RankingFormat()") == RankingFormat()
    assert find(f"{__name__}.Leaf") is Leaf and name_of(Leaf) == f"{__name__}.Leaf"
    assert name_of(RankingFormat) == "ranking"


@pytest.mark.parametrize(
    "name",
    [
        "no_such_package.Part",
        "whyrank.no_such_module.X",
        "whyrank.rerank.formats.NoSuch",
        "os.path",
        ".x",
        "a..b",
        "x.",
        "",
    ],
)
def test_a_path_to_nothing_is_named(name: str) -> None:
    with pytest.raises(BadSpec) as error:
        find(name)
    assert repr(name) in str(error.value)


def test_a_broken_part_keeps_its_own_error(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_part.py").write_text("import broken\nfrom whyrank.registry import Part\nclass X(Part): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="No module named 'broken'") as error:
        find("broken_part.X")
    assert not isinstance(error.value, BadSpec)


@pytest.mark.usefixtures("fresh_names")
def test_entry_points_add_names_but_never_replace_builtin_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("somebodys_parts")
    monkeypatch.setitem(sys.modules, "somebodys_parts", module)
    mine = dataclass(frozen=True)(
        type("Mine", (Part,), {"__module__": "somebodys_parts", "__annotations__": {"k": int}, "k": 1})
    )
    module.Mine = mine  # type: ignore[attr-defined]

    def entry_points(group: str) -> Sequence[EntryPoint]:
        assert group == "whyrank.parts"
        return [EntryPoint("mine", "somebodys_parts:Mine", group), EntryPoint("ranking", "somebodys_parts:Mine", group)]

    monkeypatch.setattr(registry, "entry_points", entry_points)
    assert make("mine(k=2)") == mine(k=2) and repr(mine(k=2)) == "mine(k=2)"
    assert make("ranking") == RankingFormat()
    with pytest.raises(BadSpec, match="did you mean 'mine'"):
        make("mone()")


EXAMPLES = {
    "dense": "dense('minilm')",
    "splade": "splade('naver/splade-v3')",
    "late": "late('colbert-ir/colbertv2.0')",
    "agentic": "agentic(bm25(), fake(), rounds=2)",
    "encoder_rerank": "encoder_rerank('minilm')",
    "fuse": "fuse(bm25(), bm25q())",
    "hard_queries": "hard_queries(fake(), kind='long')",
    "hard_negatives": "hard_negatives(bm25(), bands=((1, 10, 5), (11, 100, 5)), teacher=fake())",
    "teacher_rankings": "teacher_rankings(fake(), samples=4)",
    "trajectories": "trajectories(fake())",
    "group_labels": "group_labels(fake(), points=group_scores())",
    "trace_pairs": "trace_pairs(fake())",
    "compressed_traces": "compressed_traces(fake(), way='rewrite')",
    "rm3": "rm3(bm25())",
    "rocchio": "rocchio(bm25())",
    "listwise": "listwise(fake())",
    "pointwise": "pointwise(fake())",
    "pairwise": "pairwise(fake(), method='sliding')",
    "adaptive": "adaptive(fake(), calls=6)",
    "within": "within(fake(), calls=20)",
    "noisy": "noisy(shared=0.1)",
    "consensus": "consensus(fake(), shuffles=3)",
    "cascade": "cascade(listwise(fake()), pointwise(fake()), depths=(100, 20))",
    "hybrid": "hybrid(listwise(fake()), weight=0.1)",
    "route": "route(listwise(fake()), setwise(fake()), by=entropy(thresholds=(0.9,)))",
    "difficulty": "difficulty('radar.json', weight=0.5)",
    "budget": "budget(fake(), think=512)",
    **{
        name: f"{name}(fake())" for name in ("setwise", "merge_tree", "top_down", "tournament", "groupwise", "dual_end")
    },
    "with_scores": "with_scores(setwise(fake()))",
    "http_search": "http_search('http://localhost:9200', 'toy')",
    "scored": "scored(fake())",
    "template": f"template({str(Path(__file__).parent / 'data' / 'plain_template.toml')!r}, answer=ranking())",
    "weighed": "weighed(yes_no('no'), softmax('yes', 'no'))",
    "softmax": "softmax('yes', 2152, log=True)",
    "difference": "difference('1', '0')",
    "logit": "logit('Yes', divided_by=5.0, sigmoid=True)",
    "expectation": "expectation('0', '1', '2')",
    "pseudo_query": "pseudo_query(encoder_rerank('minilm'), passages=5)",
    "tree": "tree(fake())",
    "written": "written(fake())",
    "sharded": "sharded(bm25())",
    "remote": "remote('http://localhost:8000')",
    "rerank_api": "rerank_api('http://localhost:8000')",
    "openai": "openai('Qwen/Qwen3-8B')",
    "vllm": "vllm('Qwen/Qwen3-8B')",
    "transformers": "transformers('Qwen/Qwen3-8B')",
    "rewritten": "rewritten(bm25(), hyde(fake()), combine=gate(then=append()))",
    "from_file": "from_file('rewrites.json')",
    **{name: f"{name}(fake())" for name in ("reasoned_query", "hyde", "query2doc", "lamer", "thinkqe")},
    **{name: f"{name}(fake())" for name in ("keywords", "subqueries", "step_back")},
    "mix": "mix(multiview(p=1.0), cost(), weights=(1.0, 0.5))",
    **{name: f"{name}(ndcg())" for name in ("sol_length", "self_norm_length")},
    "embedding_gain": "embedding_gain('minilm')",
    "interactions": "interactions('clicks.csv', protocol=global_time(first=True), user='who')",
    "recbole": "recbole('ml-100k', protocol=given_split())",
    "s3": "s3('Beauty.txt', protocol=leave_one_out(pools=uni()))",
    "movielens": "movielens('ml-1m')",
    "amazon2023": "amazon2023('Video_Games.csv')",
    "p5": "p5('beauty')",
    "llmrank": "llmrank('games', lists='sasrec')",
    "titles": "titles(bm25(), depth=100)",
    **{name: f"{name}('runs/chain', size=30)" for name in ("lists", "norm", "gt")},
    **{name: f"{name}(bm25())" for name in ("engine_gain", "new_documents", "on_target", "measure_gain")},
}


@pytest.mark.parametrize("name", BUILTIN)
def test_every_builtin_name_leads_to_its_part_and_back(name: str) -> None:
    assert name_of(find(name)) == name
    part = make(EXAMPLES.get(name, name))
    assert repr(part).startswith(f"{name}(")
    assert make(repr(part)) == part
    assert parameters(part)["part"] == name
