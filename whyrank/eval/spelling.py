"""Names of measures: those of ir_measures (`nDCG@10`, `P(rel=2)@5`), in any case, of trec_eval and of other tools."""

import ast
import difflib
import math
import re

import ir_measures

from whyrank.errors import BadInput
from whyrank.eval import aspects, formulas

ENGINE = ir_measures.providers.FallbackProvider(
    [ir_measures.pytrec_eval, ir_measures.judged, ir_measures.msmarco, ir_measures.compat]
)
"""What computes measures that are not computed by `formulas`."""

_COUNT = ir_measures.measures.ParamInfo


def _own(name: str, **params: ir_measures.measures.ParamInfo) -> ir_measures.Measure:
    given = {"NAME": name, "__name__": name, "SUPPORTED_PARAMS": {"cutoff": _COUNT(dtype=int, required=True), **params}}
    return type(name, (ir_measures.Measure,), given)()


OWN = {"hole": _own("Hole"), "r_cap": _own("R_cap", rel=_COUNT(dtype=int, default=1))}
"""Measures that ir_measures does not name."""

_HERE = {
    *(one.NAME for source in ENGINE.providers for one in source.SUPPORTED_MEASURES),
    *formulas.ALWAYS,
    *aspects.MEASURES,
}

_ELSEWHERE = {
    "map": "AP",
    "map_cut": "AP",
    "precision": "P",
    "mrr": "RR",
    "recip_rank": "RR",
    "reciprocal_rank": "RR",
    "ndcg_cut": "nDCG",
    "hit": "Success",
    "hits": "Success",
    "hit_rate": "Success",
    "r-precision": "Rprec",
    "r_precision": "Rprec",
    "num_q": "NumQ",
    "num_ret": "NumRet",
    "num_rel": "NumRel",
    "num_rel_ret": "NumRelRet",
    "set_map": "SetAP",
    "set_recall": "SetR",
    "set_p": "SetP",
    "set_f": "SetF",
    "iprec_at_recall": "IPrec",
    "alpha-ndcg": "alpha_nDCG",
    "a-ndcg": "alpha_nDCG",
    "strec": "StRecall",
    "aspect_recall": "StRecall",
    "a-recall": "StRecall",
    "hole_rate": "Hole",
    "recall_cap": "R_cap",
}
"""What trec_eval, pytrec_eval, ranx and papers call a measure, in lower case."""

_WRITTEN = re.compile(r"\s*([^\W\d][\w-]*?)\s*(\([^()]*\))?\s*(?:@\s*(.+?)|[._](\d+(?:\.\d+)?))?\s*")


def read(name: str) -> ir_measures.Measure:
    """The measure that is written so.

    Raises:
        BadInput: there is none, it is not computed here, lacks its cut-off, or has no such parameter; what may be
            written is told.
    """
    written, known = _WRITTEN.fullmatch(name), _registry()
    if written is None or (stem := _ELSEWHERE.get(written[1].lower(), written[1]).lower()) not in known:
        raise BadInput(f"no measure is written {name[:80]!r}{_nearest(name, known)}")
    base = OWN.get(stem) or ir_measures.measures.registry[known[stem]]
    if base.NAME not in _HERE:
        raise BadInput(not_here(name))
    try:
        measure = base(**_parameters(written[2], base))
        measure = measure if (at := written[3] or written[4]) is None else measure @ ast.literal_eval(at)
        _check(measure)
    except BadInput:
        raise
    except (ValueError, AssertionError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise BadInput(f"no measure is written {name[:80]!r}: {_takes(known[stem], base)}") from None
    return measure


def canonical(name: str) -> str:
    """The name under which a report has the measure that is written so; the name itself where there is none."""
    try:
        return str(read(name))
    except BadInput:
        return name


def not_here(name: str) -> str:
    """What is said of a measure that nothing here computes."""
    return f"the measure {name[:80]!r} is not computed here: give a function (grades, ranking) -> float in its place"


def _check(measure: ir_measures.Measure) -> None:
    """Refuse parameters that it has not, or of another kind; a ValueError or an AssertionError where they are so."""
    measure.validate_params()
    if measure.params.get("cutoff", 1) < 1:
        raise BadInput(f"the measure '{measure}' looks at no document: its cut-off must be at least 1")
    if not 0 < measure.params.get("p", 0.5) < 1:
        raise BadInput(f"the measure '{measure}' has no such p: it must be above 0 and below 1")
    low, high = measure.params.get("min_rel", 0), measure.params.get("max_rel", math.inf)
    if "max_rel" in measure.SUPPORTED_PARAMS and not low < high < math.inf:
        raise BadInput(f"the measure '{measure}' needs the highest grade, above min_rel: {measure.NAME}(max_rel=3)")
    if not 0 < measure.params.get("T", 1) < math.inf:
        raise BadInput(f"the measure '{measure}' has no such T: it must be above 0")
    if not all(math.isfinite(number) for pair in measure.params.get("gains", {}).items() for number in pair):
        raise ValueError


def _registry() -> dict[str, str]:
    """Each name of a measure by its lower case; a name stands before its aliases."""
    named = {name.lower(): name for name in reversed(list(ir_measures.measures.registry))}
    return named | {stem: one.NAME for stem, one in OWN.items()}


def _parameters(written: str | None, base: ir_measures.Measure) -> dict[str, object]:
    if written is None:
        return {}
    call = ast.parse(f"_{written}", mode="eval").body
    if not isinstance(call, ast.Call) or call.args or not all(keyword.arg for keyword in call.keywords):
        raise ValueError
    given = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    real = {name for name, info in base.SUPPORTED_PARAMS.items() if info.dtype is float}
    return {name: float(value) if name in real and type(value) is int else value for name, value in given.items()}


def _takes(stem: str, base: ir_measures.Measure) -> str:
    """What a measure may be given, in words."""
    at = base.AT_PARAM if base.AT_PARAM in base.SUPPORTED_PARAMS else ""
    example = f"@{0.2 if at == 'recall' else 10}" if at else ""
    rest = [name for name in base.SUPPORTED_PARAMS if name != at]
    cut = f"a cut-off as in {stem}{example}" if at == "cutoff" else f"{at} as in {stem}{example}" if at else ""
    named = f"the parameter{'s' * (len(rest) > 1)} {', '.join(rest)}" if rest else ""
    if needed := [name for name in rest if base.SUPPORTED_PARAMS[name].required]:
        named += f", of which {' and '.join(needed)} must be given, as in {stem}({needed[0]}=3){example}"
    return f"{stem} takes {', and '.join(filter(None, (cut, named))) or 'neither cut-off nor parameters'}"


def _nearest(name: str, known: dict[str, str]) -> str:
    stem, at, cut = name.partition("@")
    stem = stem.partition("(")[0].strip().lower()
    near = difflib.get_close_matches(stem, {**_ELSEWHERE, **known}, n=1)
    if not near:
        return ": try nDCG@10, R@100, AP, RR@10, P@5 or Success@1"
    return f": did you mean {_ELSEWHERE.get(near[0]) or known[near[0]]}{at}{cut}?"
