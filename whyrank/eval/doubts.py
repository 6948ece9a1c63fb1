"""What makes figures doubtful, in sentences: ids that do not fit, queries that lack, scores that say nothing."""

import re
from collections.abc import Iterable, Iterator, Mapping

from whyrank.types import Run

Judged = Mapping[str, Mapping[str, float]]

LACKING = 0.05
"""The share of judged queries above which it is told that a run lacks them."""

DEPTH = 10
"""How far down rankings are looked at for ids that are spelt otherwise."""

SOME = 100
"""How many queries are looked at for that: who spells ids otherwise does so everywhere."""

_FORM = re.compile(r"[\s_]+|(?<!\d)0+(?=\d)")


def doubts(run: Run, ranked: Run, judged: Judged) -> Iterator[str]:
    """All there is to say.

    Args:
        run: as it was handed in.
        ranked: its judged queries that have documents, in the order that counts.
        judged: the judgements.
    """
    missing = [query for query in judged if query not in ranked]
    if len(missing) > LACKING * len(judged):
        share = len(missing) / len(judged)
        there = [query for query in run if query not in judged]
        yield (
            f"it lacks {len(missing):,} of {len(judged):,} judged queries ({share:.1%}), which count 0"
            f"{spelt(there, missing)}"
        )
    yield from _foreign(ranked, judged)
    yield from _constant(ranked)


def spelt(there: Iterable[str], wanted: Iterable[str]) -> str:
    """What is said where ids are the same but for case, blanks, underscores or leading zeros; empty where none are."""
    forms = {_form(id): id for id in wanted}
    pair = next(((id, forms[form]) for id in there if (form := _form(id)) in forms and forms[form] != id), None)
    if pair is None:
        return ""
    return f": ids differ by case, blanks, underscores or leading zeros, such as {pair[0]!r} and {pair[1]!r}"


def same_orders(runs: Iterable[Run]) -> Iterator[str]:
    """What is said of runs that rank every query as another run does: did the second do anything?"""
    seen: list[Run] = []
    for run in runs:
        twin = next((one for one in seen if _same(one, run)), None)
        if twin is not None:
            yield f"{run.name}: it ranks all {len(run):,} queries as {twin.name} does: did it do anything?"
        seen.append(run)


def _same(one: Run, two: Run) -> bool:
    return len(one) > 0 and one.sizes == two.sizes and all(ids == two[query].ids for query, (ids, _) in one.items())


def _foreign(run: Run, judged: Judged) -> Iterator[str]:
    """What is said where no document that is ranked was judged, or some are spelt otherwise."""
    if not len(run):
        return
    if not any(id in judged[query] for query, (ids, _) in run.items() for id in ids):
        query, (ids, _) = next(iter(run.items()))
        yield (
            f"none of the {len(run.codes):,} documents that it ranks for judged queries is judged: are the ids of "
            f"another collection? For query {query!r} it has {ids[0]!r}, the judgements have "
            f"{next(iter(judged[query]))!r}{_spelt_documents(run, judged)}"
        )
    elif told := _spelt_documents(run, judged):
        yield f"documents that it ranks are judged under other ids{told}"


def _spelt_documents(run: Run, judged: Judged) -> str:
    for query in run.query_ids[:SOME]:
        ids = run[query].ids
        strange = [id for id in ids[:DEPTH] if id not in judged[query]]
        if strange and (told := spelt(strange, judged[query].keys() - {*ids})):
            return told
    return ""


def _constant(run: Run) -> Iterator[str]:
    """What is said where the documents of each query all have one score, in more than one query."""
    entries, several = len(run.codes), sum(size > 1 for size in run.sizes.values())
    if several > 1 and run.ties == entries - len(run):
        yield "all documents of a query have the same score: it orders nothing, and the rule for ties decides"


def _form(id: str) -> str:
    return _FORM.sub("", id).casefold()
