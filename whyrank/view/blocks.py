"""What stands behind each query of a report: rankings with passages, grades, reasons, and the model calls."""

import math
from collections.abc import Sequence
from typing import Any

from whyrank.errors import NotFound
from whyrank.rerank.answer.ranked import start
from whyrank.rerank.answer.ranked_list import RankedList
from whyrank.types import CallReport, Corpus, Dataset, Query
from whyrank.view.summary import relevant
from whyrank.view.systems import System


def block(systems: Sequence[System], data: Dataset, query: Query, depth: int, chars: int) -> dict[str, Any]:
    """One query in plain types.

    Args:
        systems: the runs.
        data: texts and judgements.
        query: the query.
        depth: how many documents of each ranking.
        chars: how many characters of each passage.
    """
    runs = [_ranking(system, data, query.id, depth) for system in systems]
    grades, best = data.qrels.get(query.id, {}), relevant(data, query.id)
    shown = dict.fromkeys(id for run in runs if run for id in run["ids"])
    ids = [*shown, *(id for id in [*best][:depth] if id not in shown)]
    return {
        "text": query.text,
        "docs": {id: _passage(data.corpus, id, chars) for id in ids},
        "grades": {id: grades[id] for id in ids if id in grades},
        "runs": runs,
    }


def _ranking(system: System, data: Dataset, query: str, depth: int) -> dict[str, Any] | None:
    if query not in system.run:
        return None
    ids, before = list(system.run[query].ids[:depth]), system.before(query)
    told: dict[str, Any] = {"ids": ids, "before": [before.get(id, 0) for id in ids], "of": len(system.run[query].ids)}
    note = system.run.notes.get(query)
    if note is None:
        return told
    told["handed"] = bool(note.first_scores)
    scores = [_known(note.scores.get(id)) for id in ids]
    if any(score is not None for score in scores):
        told["scores"] = scores
    if note.rewritten:
        told["rewritten"] = list(note.rewritten)
    if note.first_scores and note.calls:
        ranked = RankedList.of(system.run, query)
        told["reasons"] = [item.reason for item in ranked.items[:depth]]
        told["in"] = [[ranked.number(call) for call in item.calls] for item in ranked.items[:depth]]
    told["calls"] = [_call(system, call, note.candidates) for call in note.calls]
    return told


def _call(system: System, call: CallReport, candidates: Sequence[str]) -> dict[str, Any]:
    said = system.said(call.key)
    return {
        **call.to_dict(candidates),
        "seconds": call.seconds if call.seconds is not None else said.get("seconds"),
        "messages": said.get("messages", []),
        "answer": said.get("text", ""),
    }


def _known(score: float | None) -> float | None:
    return None if score is None or math.isnan(score) else score


def _passage(corpus: Corpus, id: str, chars: int) -> list[str] | None:
    """Title and text of a document, as far as they are shown; None where they are not at hand."""
    try:
        found = corpus[id]
    except (KeyError, NotFound):
        return None
    text = found.text if len(found.text) <= chars else f"{found.text[:chars]} …"
    return [start(found.title, 200), text]
