"""Files in and out: TREC and JSON runs, qrels, JSONL corpora, queries and tasks. Strict; errors say file and line."""

from whyrank.io.candidates import read_candidates, write_candidates
from whyrank.io.files import atomic_write, lines
from whyrank.io.qrels import read_qrels, write_qrels
from whyrank.io.runs import read_run, write_run
from whyrank.io.store import read_corpus
from whyrank.io.tasks import read_tasks, write_tasks
from whyrank.io.texts import iter_corpus, read_queries, write_corpus

__all__ = [
    "atomic_write",
    "iter_corpus",
    "lines",
    "read_candidates",
    "read_corpus",
    "read_qrels",
    "read_queries",
    "read_run",
    "read_tasks",
    "write_candidates",
    "write_corpus",
    "write_qrels",
    "write_run",
    "write_tasks",
]
