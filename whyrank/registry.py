"""Parts and their specs: the same text in Python, on the command line, in a TOML file and in a manifest.

A part is a frozen dataclass whose `repr` is its spec, and `make(repr(part)) == part`. Specs are read with
`ast`, never evaluated, and only subclasses of `Part` are built. A name is looked up in the built-in table,
then among the entry points of group "whyrank.parts" of installed packages, then taken as a dotted path.

What a user writes is built by `make`. What a *file* says (a manifest, the description of an index) is data: it goes
through `make_from_file`, which takes names of installed parts and plain values of fields that a class lets files set.
"""

import ast
import difflib
import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, wraps
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, ClassVar, TypeVar, Union, get_args, get_origin, get_type_hints

from whyrank.dotted import derives
from whyrank.errors import BadInput, BadSpec, WhyrankError
from whyrank.fields import Declared, Misfit

BUILTIN: dict[str, str] = {
    "bm25": "whyrank.retrieval.bm25:BM25",
    "bm25q": "whyrank.retrieval.bm25:BM25Q",
    "lucene": "whyrank.retrieval.lucene:Lucene",
    "dense": "whyrank.retrieval.dense:Dense",
    "splade": "whyrank.retrieval.sparse:Splade",
    "late": "whyrank.retrieval.late:Late",
    "agentic": "whyrank.retrieval.agent:Agentic",
    "rewritten": "whyrank.retrieval.rewrite.rewritten:Rewritten",
    "reasoned_query": "whyrank.retrieval.rewrite.expand:ReasonedQuery",
    "hyde": "whyrank.retrieval.rewrite.expand:HyDE",
    "query2doc": "whyrank.retrieval.rewrite.expand:Query2Doc",
    "lamer": "whyrank.retrieval.rewrite.expand:LameR",
    "keywords": "whyrank.retrieval.rewrite.expand:Keywords",
    "subqueries": "whyrank.retrieval.rewrite.expand:SubQueries",
    "stepback": "whyrank.retrieval.rewrite.expand:StepBack",
    "thinkqe": "whyrank.retrieval.rewrite.rounds:ThinkQE",
    "from_file": "whyrank.retrieval.rewrite.files:FromFile",
    "replace": "whyrank.retrieval.rewrite.combine:Replace",
    "append": "whyrank.retrieval.rewrite.combine:Append",
    "repeat": "whyrank.retrieval.rewrite.combine:Repeat",
    "fuse_original": "whyrank.retrieval.rewrite.combine:FuseOriginal",
    "gate": "whyrank.retrieval.rewrite.combine:Gate",
    "fuse": "whyrank.retrieval.fuse:Fuse",
    "fusion": "whyrank.fusion:Fusion",
    "rm3": "whyrank.retrieval.feedback:RM3",
    "rocchio": "whyrank.retrieval.feedback:Rocchio",
    "tree": "whyrank.retrieval.tree.retriever:Tree",
    "extractive": "whyrank.retrieval.tree.summaries:Extractive",
    "written": "whyrank.retrieval.tree.summaries:Written",
    "sharded": "whyrank.retrieval.sharded:Sharded",
    "encoder_rerank": "whyrank.rerank.encoder:EncoderRerank",
    "listwise": "whyrank.rerank.listwise:Listwise",
    "pointwise": "whyrank.rerank.pointwise:Pointwise",
    "pairwise": "whyrank.rerank.pairwise:Pairwise",
    "adaptive": "whyrank.rerank.adaptive:Adaptive",
    "consensus": "whyrank.rerank.consensus:Consensus",
    "pair": "whyrank.rerank.formats.pair:Pair",
    "rubric": "whyrank.rerank.formats.rubric:Rubric",
    "yes_no": "whyrank.rerank.formats.yes_no:YesNo",
    "cascade": "whyrank.rerank.compose:Cascade",
    "hybrid": "whyrank.rerank.compose:Hybrid",
    "route": "whyrank.rerank.route:Route",
    "margin": "whyrank.rerank.route:Margin",
    "entropy": "whyrank.rerank.route:Entropy",
    "difficulty": "whyrank.rerank.route:Difficulty",
    "within": "whyrank.rerank.within:Within",
    "setwise": "whyrank.rerank.setwise:Setwise",
    "mergetree": "whyrank.rerank.mergetree:MergeTree",
    "topdown": "whyrank.rerank.topdown:TopDown",
    "tournament": "whyrank.rerank.tournament:Tournament",
    "groupwise": "whyrank.rerank.groupwise:Groupwise",
    "dualend": "whyrank.rerank.dualend:DualEnd",
    "with_scores": "whyrank.rerank.compose:WithScores",
    "pseudo_query": "whyrank.rerank.pseudo_query:PseudoQuery",
    "reasoned": "whyrank.rerank.formats.listwise:Reasoned",
    "direct": "whyrank.rerank.formats.listwise:Direct",
    "reasoned_choice": "whyrank.rerank.formats.choice:ReasonedChoice",
    "direct_choice": "whyrank.rerank.formats.choice:DirectChoice",
    "reasoned_scores": "whyrank.rerank.formats.scores:ReasonedScores",
    "direct_scores": "whyrank.rerank.formats.scores:DirectScores",
    "best_worst": "whyrank.rerank.formats.ends:BestWorst",
    "first": "whyrank.rerank.formats.first:First",
    "sampling": "whyrank.llm.messages:Sampling",
    "openai": "whyrank.llm.openai:OpenAI",
    "vllm": "whyrank.llm.vllm:VLLM",
    "transformers": "whyrank.llm.transformers:Transformers",
    "fake": "whyrank.llm.fake:Fake",
    "hard_queries": "whyrank.data_synth.hard_queries:HardQueries",
    "hard_negatives": "whyrank.data_synth.hard_negatives:HardNegatives",
    "teacher_rankings": "whyrank.data_synth.teacher_rankings:TeacherRankings",
    "draws": "whyrank.data_synth.draws:Draws",
    "trajectories": "whyrank.data_synth.trajectories:Trajectories",
    "group_labels": "whyrank.data_synth.group_labels:GroupLabels",
    "trace_pairs": "whyrank.data_synth.trace_pairs:TracePairs",
    "compressed_traces": "whyrank.data_synth.compressed_traces:CompressedTraces",
    "deduplicated": "whyrank.data_synth.deduplicated:Deduplicated",
    "multiview": "whyrank.train.rewards.lists:MultiView",
    "ndcg": "whyrank.train.rewards.lists:NDCG",
    "ndcg_gain": "whyrank.train.rewards.lists:NDCGGain",
    "improvement": "whyrank.train.rewards.lists:Improvement",
    "rearank": "whyrank.train.rewards.lists:REARANK",
    "tfrank": "whyrank.train.rewards.lists:TFRank",
    "log_rank": "whyrank.train.rewards.lists:LogRank",
    "rank_ladder": "whyrank.train.rewards.lists:RankLadder",
    "prefix_ladder": "whyrank.train.rewards.lists:PrefixLadder",
    "rank_r1": "whyrank.train.rewards.lists:RankR1",
    "rank_r1_list": "whyrank.train.rewards.lists:RankR1List",
    "grouprank": "whyrank.train.rewards.grades:GroupRank",
    "retro_star": "whyrank.train.rewards.grades:RetroStar",
    "erank": "whyrank.train.rewards.grades:ERank",
    "well_formed": "whyrank.train.rewards.process:WellFormed",
    "cost": "whyrank.train.rewards.process:Cost",
    "mix": "whyrank.train.rewards.process:Mix",
    "sol_length": "whyrank.train.rewards.process:SolLength",
    "self_norm_length": "whyrank.train.rewards.process:SelfNormLength",
    "embedding_gain": "whyrank.train.rewards.rewriters:EmbeddingGain",
    "engine_gain": "whyrank.train.rewards.rewriters:EngineGain",
    "new_documents": "whyrank.train.rewards.rewriters:NewDocuments",
    "on_target": "whyrank.train.rewards.rewriters:OnTarget",
    "measure_gain": "whyrank.train.rewards.rewriters:MeasureGain",
    "budget": "whyrank.llm.thought:Budget",
    "noisy": "whyrank.simulate.judge:Noisy",
    "interactions": "whyrank.datasets.recommendation.files:Table",
    "recbole": "whyrank.datasets.recommendation.files:RecBole",
    "s3": "whyrank.datasets.recommendation.files:S3",
    "movielens": "whyrank.datasets.recommendation.public:MovieLens",
    "amazon2023": "whyrank.datasets.recommendation.public:Amazon2023",
    "p5": "whyrank.datasets.recommendation.public:P5",
    "llmrank": "whyrank.datasets.recommendation.files:LLMRank",
    "popularity": "whyrank.retrieval.recommend.counts:Popularity",
    "recent": "whyrank.retrieval.recommend.counts:Recent",
    "chain": "whyrank.retrieval.recommend.counts:Chain",
    "itemknn": "whyrank.retrieval.recommend.counts:ItemKNN",
    "swing": "whyrank.retrieval.recommend.counts:Swing",
    "titles": "whyrank.retrieval.recommend.texts:Titles",
    "keyword_graph": "whyrank.retrieval.recommend.texts:KeywordGraph",
    "pagerank": "whyrank.retrieval.recommend.pagerank:PageRank",
    "lm_linear": "whyrank.retrieval.recommend.lm_linear:LMLinear",
    "sasrec": "whyrank.retrieval.recommend.sequential:SASRec",
    "bert4rec": "whyrank.retrieval.recommend.sequential:BERT4Rec",
    "leave_one_out": "whyrank.datasets.recommendation.split:LeaveOneOut",
    "global_time": "whyrank.datasets.recommendation.split:GlobalTime",
    "given_split": "whyrank.datasets.recommendation.split:Given",
    "uni": "whyrank.datasets.recommendation.pools:Uni",
    "pop": "whyrank.datasets.recommendation.pools:Pop",
    "lists": "whyrank.datasets.recommendation.pools:Lists",
    "norm": "whyrank.datasets.recommendation.pools:Norm",
    "gt": "whyrank.datasets.recommendation.pools:Gt",
}

HOW: Mapping[str, Any] = MappingProxyType({"how": True})
"""Marks a field that says how a part works, how fast, where or how much at once, and not what comes out:
`concurrency: int = field(default=8, metadata=HOW)`. Experiments that differ in such fields alone are the same."""

_LONGEST, _SHOWN = 100, 2000
"""Characters: of a name for which near ones are looked for, and of a spec that errors show."""

P = TypeVar("P", bound="Part")
C = TypeVar("C")


class Part(Declared):
    """Base of everything that can be named in a spec; subclasses are frozen dataclasses.

    Each field is held against its declared type and bounds (`whyrank.fields`) before `__post_init__` runs. A field
    without a default is written by position, any other by name and only where it differs from its default. Fields with
    `repr=False` are state, not specification.

    Attributes:
        file_fields: those that a file may set when the folder it lies in is opened, see `make_from_file`. None that
            names a model, an engine, an address or code.
    """

    file_fields: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls) -> None:
        """Give every part the spec as `repr`, also where `@dataclass` would write its own."""
        super().__init_subclass__()
        cls.__repr__ = _spec  # type: ignore[assignment, method-assign]

    @classmethod
    def _called(cls) -> str:
        return name_of(cls)

    @classmethod
    def _such_as(cls, misfit: Misfit) -> str:
        return _near(misfit.value, misfit.hint)


def variadic(part: type[C]) -> type[C]:
    """Let a part take its one field without a default, a tuple, item by item: `fuse(a, b)` instead of `fuse((a, b))`.

    Stands above `@dataclass(frozen=True)`; all other fields must be keyword-only. The tuple can also be given by name,
    as `dataclasses.replace` does.
    """
    plain = part.__init__
    (several,) = _positions(part)

    @wraps(plain)
    def take(self: C, *items: object, **named: object) -> None:
        if items and several in named:
            raise TypeError(f"{part.__name__}.__init__() got multiple values for argument {several!r}")
        plain(self, **{several: items, **named})

    take.several = several  # type: ignore[attr-defined]
    part.__init__ = take  # type: ignore[method-assign, assignment]
    return part


def make(spec: str, kind: type[P] = Part) -> P:  # type: ignore[assignment]
    """Build the part that `spec` describes, for example `"listwise(fake(), window=10)"`.

    Args:
        spec: a name (`"bm25"`) or a call with literal or part arguments (`"bm25(k1=1.2)"`).
        kind: the class that the part must be an instance of.

    Raises:
        BadSpec: the text is not a spec, names no part, or gives arguments that the part does not take.
    """
    with _reading(spec):
        part = _build(_parsed(spec), spec)
    if not isinstance(part, kind):
        raise BadSpec(f"{spec!r} is a {type(part).__name__}, but a {kind.__name__} is wanted here")
    return part


def make_from_file(told: object, kind: type[P], source: str | Path, **given: object) -> P:
    """Build a part as a file tells it, as far as a file may: what it says is data, and chooses no code and no model.

    Args:
        told: a spec, or a mapping of fields, from the file. Only the fields in `kind.file_fields` are taken, with
            numbers, texts, tuples of them, and parts that are built the same way as values; others are passed over.
        kind: the class; a spec must name it, by the name of an installed part.
        source: the file, for errors.
        given: fields that the caller decides.

    Raises:
        BadSpec: what the file says is no such part, or its values do not fit; the file is named.
    """
    try:
        if isinstance(told, str):
            with _reading(told):
                fields_told = _plain_fields(_parsed(told), kind, told)
        elif isinstance(told, Mapping):
            fields_told = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
        else:
            raise BadSpec(f"a spec is wanted, not {told!r:.80}")
        taken = {name: value for name, value in fields_told.items() if name in kind.file_fields and name not in given}
        return kind(**taken, **given)
    except (BadInput, TypeError) as error:
        raise BadSpec(f"{source}: {error}") from None


def find(name: str, *, installed: bool = False) -> type[Part]:
    """The class behind a short name, an entry point's name or a dotted path (`my_package.module.MyPart`).

    The module of a dotted path is imported only where its source says that a part of that name is there.

    Args:
        name: the name.
        installed: take no dotted path, as where a file names the part.

    Raises:
        BadSpec: nothing of that name; the nearest known names are told.
    """
    names = _names()
    dotted = "." in name and all(word.isidentifier() for word in name.split("."))
    if name not in names and dotted and installed:
        raise BadSpec(f"{name!r} is a dotted path, which is never taken from a file: only installed parts are")
    if name not in names and not dotted:
        near = difflib.get_close_matches(name.lower(), names, n=1) if len(name) <= _LONGEST else ()
        hint = f": did you mean {near[0]!r}?" if near else f"; known parts: {', '.join(sorted(names))}"
        raise BadSpec(f"no part is called {name!r:.{_LONGEST}}{hint}")
    module, _, attribute = names[name].partition(":") if name in names else name.rpartition(".")
    if name not in names and module not in sys.modules and not derives(module, attribute, Part):
        raise BadSpec(
            f"no part is found at {name!r}: no source of a module {module!r} that can be reached defines such a part"
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and not f"{module}.".startswith(f"{error.name}."):
            raise  # the part is there, but something that it imports is not
        raise BadSpec(f"no part is found at {name!r}: {error}") from None
    if not (isinstance(found, type) and issubclass(found, Part) and is_dataclass(found)):
        raise BadSpec(f"{name!r} is not a part: only dataclasses derived from whyrank's Part can be built from a spec")
    return found


def name_of(part: type[Part]) -> str:
    """The name that finds this class again: its short name if it has one, else its dotted path."""
    path = f"{part.__module__}:{part.__qualname__}"
    for name, target in _names().items():
        if target == path:
            return name
    return f"{part.__module__}.{part.__qualname__}"


def parameters(part: Part) -> dict[str, Any]:
    """All fields of a part with their values, defaults included and nested parts unfolded, for manifests.

    Raises:
        BadSpec: a field holds a function, which cannot be written down.
    """
    values = {f.name: getattr(part, f.name) for f in fields(part) if f.repr}  # type: ignore[arg-type]
    if made := next((name for name, value in values.items() if callable(value) and not isinstance(value, Part)), None):
        raise BadSpec(
            f"{name_of(type(part))}: {made!r} is a function, and what a run folder is made by has to be written down: "
            "give the part a value instead, or a class of its own, or work without a folder (`.rerank`, `.search`)"
        )
    return {"part": name_of(type(part)), **{name: _plain(value) for name, value in values.items()}}


def hows(part: Part) -> frozenset[str]:
    """The names of the fields of a part, and of every part that it is made of, that are marked by `HOW`."""
    return frozenset(field.name for inner in walk(part) for field in fields(inner) if field.metadata.get("how"))  # type: ignore[arg-type]


def walk(part: Part) -> Iterator[Part]:
    """The part itself and every part that it is made of."""
    yield part
    for field in fields(part):  # type: ignore[arg-type]
        value = getattr(part, field.name) if field.repr else None
        for inner in value if isinstance(value, tuple | list) else (value,):
            if isinstance(inner, Part):
                yield from walk(inner)


def _plain(value: object) -> object:
    if isinstance(value, Part):
        return parameters(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


@cache
def _names() -> dict[str, str]:
    points = entry_points(group="whyrank.parts")
    return {**{point.name: f"{point.module}:{point.attr}" for point in points}, **BUILTIN}


def _spec(self: Part) -> str:
    arguments: list[str] = []
    for field in sorted(fields(self), key=lambda field: bool(field.kw_only)):  # type: ignore[arg-type]
        if not (field.repr and field.init):
            continue
        value = getattr(self, field.name)
        if field.name == _several(type(self)):
            arguments += map(_text, value)
        elif field.default is MISSING and field.default_factory is MISSING:
            arguments.append(_text(value) if not field.kw_only else f"{field.name}={_text(value)}")
        elif value != (field.default_factory() if field.default_factory is not MISSING else field.default):
            arguments.append(f"{field.name}={_text(value)}")
    return f"{name_of(type(self))}({', '.join(arguments)})"


def _text(value: object) -> str:
    """The literal of a value; infinity has none of its own, and 1e999 is read as infinity."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))}{',' if len(value) == 1 else ''})"
    return repr(value).replace("inf", "1e999") if isinstance(value, float) else repr(value)


@contextmanager
def _reading(spec: str) -> Iterator[None]:
    """Say of what Python cannot read that it is no spec."""
    try:
        yield
    except WhyrankError:
        raise
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        why = error.msg if isinstance(error, SyntaxError) else str(error) or "too deeply nested"
        raise BadSpec(f"cannot read the spec {spec!r:.{_SHOWN}}: {why if spec.strip() else 'it is empty'}") from None


def _parsed(spec: str) -> ast.expr:
    return ast.parse(spec.strip(), mode="eval").body


def _plain_fields(node: ast.expr, kind: type[Part], spec: str) -> dict[str, object]:
    """The plain fields that a spec gives; `kind` is what it must name."""
    called = node.func if isinstance(node, ast.Call) else node
    if not isinstance(called, ast.Name | ast.Attribute):
        raise BadSpec(f"cannot read the spec {spec!r}: expected a name or name(arguments)")
    if not issubclass(part := find(ast.unparse(called), installed=True), kind):
        raise BadSpec(f"{spec!r} is a {part.__name__}, but a {kind.__name__} is wanted here")
    if not isinstance(node, ast.Call):
        return {}
    given = dict(zip(_positions(part), node.args, strict=False)) | _named(node, spec)
    return {name: _plain_value(value, part, name, spec) for name, value in given.items() if name in part.file_fields}


def _plain_value(node: ast.expr, part: type[Part], field: str, spec: str) -> object:
    if isinstance(node, ast.Call | ast.Name | ast.Attribute):
        kind = get_type_hints(part)[field]
        if not (isinstance(kind, type) and issubclass(kind, Part) and kind.file_fields):
            raise BadSpec(f"cannot read the spec {spec!r}: {field!r} is given a part, and a file may not choose one")
        return kind(**_plain_fields(node, kind, spec))
    return _value(node, spec)


def _build(node: ast.expr, spec: str) -> Part:
    if isinstance(node, ast.Name | ast.Attribute):
        return _construct(ast.unparse(node), [], {}, spec)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
        positional = [_value(argument, spec) for argument in node.args]
        named = {name: _value(value, spec) for name, value in _named(node, spec).items()}
        return _construct(ast.unparse(node.func), positional, named, spec)
    raise BadSpec(f"cannot read the spec {spec!r}: expected a name or name(arguments), found {ast.unparse(node)!r}")


def _named(call: ast.Call, spec: str) -> dict[str, ast.expr]:
    """What a call gives by name."""
    named: dict[str, ast.expr] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise BadSpec(f"cannot read the spec {spec!r}: ** is not allowed")
        if keyword.arg in named:
            raise BadSpec(f"cannot read the spec {spec!r}: {keyword.arg!r} is given twice")
        named[keyword.arg] = keyword.value
    return named


def _value(node: ast.expr, spec: str) -> object:
    if isinstance(node, ast.Call | ast.Name | ast.Attribute):
        return _build(node, spec)
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_value(item, spec) for item in node.elts)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        raise BadSpec(f"cannot read the spec {spec!r}: {ast.unparse(node)!r} is neither a literal nor a part") from None


def _construct(name: str, positional: list[object], named: dict[str, object], spec: str) -> Part:
    part = find(name)
    takes = [field.name for field in fields(part) if field.init]  # type: ignore[arg-type]
    for given in named:
        if given not in takes:
            near = difflib.get_close_matches(given, takes, n=1)
            hint = f": did you mean {near[0]!r}?" if near else f"; it takes {', '.join(takes) or 'nothing'}"
            raise BadSpec(f"{name}(...) takes no {given!r}{hint}")
    try:
        return part(*positional, **named)
    except TypeError as error:
        detail = str(error).removeprefix(f"{part.__name__}.__init__() ").removeprefix("__init__() ")
        raise BadSpec(f"{name}(...) in {spec!r}: {detail}") from None


def _positions(part: type[Any]) -> list[str]:
    return [field.name for field in fields(part) if field.init and not field.kw_only]


def _several(part: type[Part]) -> str | None:
    """The field whose items are given one by one, if the part is `variadic`."""
    return getattr(part.__init__, "several", None)


def _near(value: object, hint: Any) -> str:  # noqa: ANN401 (a type hint can be anything)
    """What to write for a text that stands where a part or a tuple belongs; empty where nothing is near."""
    if not isinstance(value, str):
        return ""
    for choice in get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,):
        kind, inside = get_origin(choice) or choice, get_args(choice)
        if kind is tuple and inside == (str, ...):
            return f"({value!r},)"
        if isinstance(kind, type) and issubclass(kind, Part):
            return _instead(value, kind)
    return ""


def _instead(value: str, kind: type[Part]) -> str:
    """The part of this kind that a text names, or, where it names a model, one that takes it."""
    near = difflib.get_close_matches(value.lower().partition("(")[0].strip(), _names(), n=1)
    if near and issubclass(find(near[0]), kind):
        return value if "(" in value else f"{near[0]}()"
    return f"openai({value!r})" if issubclass(find("openai"), kind) else ""
