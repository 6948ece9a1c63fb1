"""A run folder holds one experiment: what was asked, what came out, and every model call in between.

    run.trec        the rankings
    manifest.json   what was asked: part, data, input file and its hash, versions; and whether it is finished
    report.json     what happened: seconds, model calls by outcome, tokens, cost
    notes.jsonl     per query: raw and first-stage scores, and each model call with whom it showed and its reason
    trace.jsonl     every model call, as it ends: the cache from which a stopped run goes on
    scores.jsonl    what an encoder scored, block by block: from it a stopped run goes on, too

Calling the same thing again goes on where it stopped; a folder of another experiment is refused, never overwritten.
"""

from whyrank.experiment.finished import explain, export
from whyrank.experiment.folder import Limits, Result
from whyrank.experiment.fusing import Tuning, fuse, fusion_of, tuned_on
from whyrank.experiment.runs import open_run, open_runs, refuse_foreign, refuse_other_protocols, run_file, run_name
from whyrank.experiment.stages import rerank, search

__all__ = [
    "Limits",
    "Result",
    "Tuning",
    "explain",
    "export",
    "fuse",
    "fusion_of",
    "open_run",
    "open_runs",
    "refuse_foreign",
    "refuse_other_protocols",
    "rerank",
    "run_file",
    "run_name",
    "search",
    "tuned_on",
]
