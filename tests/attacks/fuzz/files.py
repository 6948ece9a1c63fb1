"""Fuzz every kind of file that is read: a typed error that names it, or a value; nothing else."""

import gzip
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from whyrank.errors import WhyrankError
from whyrank.experiment import explain, open_run
from whyrank.experiment.runs import task_of
from whyrank.io import read_candidates, read_corpus, read_qrels, read_queries, read_run, read_tasks
from whyrank.llm.ledger import Prices
from whyrank.llm.trace import Trace, records
from whyrank.retrieval.rewrite import FromFile
from whyrank.train.config import GRPO, SFT, read_config

from .drive import Target, main

RUN = b"q1 Q0 d1 1 2.0 a\nq1 Q0 d2 2 1.0 a\n"
CALL = (
    b'{"key": "k1", "query": "q1", "seconds": 0.1, "model": "fake", "text": "<answer>[1]</answer>", "reasoning": "",'
    b' "usage": {"input": 3, "output": 2}, "finish": "stop"}\n'
)
NOTE = (
    b'{"query": "q1", "first": {"d1": 2.0, "d2": 1.0}, "scores": {}, "calls": [{"status": "exact", "shown":'
    b' ["d1", "d2"], "reason": "[1] is it", "usage": {"input": 3}, "key": "k1", "finish": "stop"}]}\n'
)
MANIFEST = (
    b'{"task": {"verb": "rerank", "spec": "listwise(fake())", "part": {"window": 20}, "data": {"name": "toy",'
    b' "documents": 80, "queries": 15}, "depth": 10}, "finished": true, "versions": {"whyrank": "0.1.0"}}'
)
TASK = (
    b'{"query": {"id": "q", "text": "why?"}, "documents": [{"id": "a", "text": "x"}, {"id": "b", "text": "y"}],'
    b' "grades": {"a": 1}, "order": ["a", "b"], "thought": "t", "source": {"scale": 3}}\n'
)
CANDIDATES = (
    b'{"query": {"qid": "1", "text": "why"}, "candidates": [{"docid": "d1", "score": 1.0, "doc": {"text": "x"}}]}\n'
)
TOML = (
    b'output = "x"\nmax_length = 10\n[model]\npath = "tiny"\n[[stages]]\nsteps = 3\n[[stages.sources]]\npath = "a"\n'
    b'format = "ranking()"\n'
)
KEYS = (
    b"_id id title text contents query qid docid score doc documents candidates grades order task data name spec part"
    b" finished usage input output key seconds reasoning calls shown status first scores files 1.5 -5 Q0"
).split()


def reads(name: str, read: Callable[[Path], object], *seeds: bytes) -> Target:
    """A target: a file of that name with these contents."""

    def check(data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name)
            path.write_bytes(data)
            try:
                found = read(path)
                if isinstance(found, Iterable):
                    list(found)
            except WhyrankError as error:
                assert str(error).strip(), "an error without words"

    return Target(f"files-{name}", check, seeds, KEYS)


def run_folder(damaged: str, *seeds: bytes) -> Target:
    """A target: one damaged file of an otherwise whole run folder, which is opened and explained."""
    whole = {"run.trec": RUN, "manifest.json": MANIFEST, "notes.jsonl": NOTE, "trace.jsonl": CALL}

    def check(data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in {**whole, damaged: data}.items():
                Path(folder, name).write_bytes(content)
            for read in (open_run, task_of, lambda one: explain(one, "q1").explain()):
                try:
                    read(folder)
                except WhyrankError as error:
                    assert str(error).strip()

    return Target(f"folder-{damaged}", check, seeds, KEYS)


def traced(path: Path) -> None:
    """Open a trace for going on, and read it."""
    list(records(path))
    with Trace(path):
        pass


TARGETS = [
    reads("corpus.jsonl", read_corpus, b'{"_id": "d1", "title": "t", "text": "one"}\n{"id": 2, "contents": "two"}\n'),
    reads("corpus.jsonl.gz", read_corpus, gzip.compress(b'{"_id": "d1", "text": "one"}\n')),
    reads("queries.jsonl", read_queries, b'{"_id": "q1", "text": "why?", "excluded_ids": ["d1"]}\n'),
    reads("queries.tsv", read_queries, b"q1\twhy?\nq2\thow?\n"),
    reads("qrels.tsv", read_qrels, b"query-id\tcorpus-id\tscore\nq1\td1\t1\n"),
    reads("qrels.txt", read_qrels, b"q1 0 d1 1\nq1 0 d2 0\n"),
    reads("run.trec", read_run, RUN),
    reads("run.json", read_run, b'{"q1": {"d1": 1.5, "d2": 0.5}, "q2": ["d1", "d2"]}'),
    reads("run.jsonl", read_run, CANDIDATES),
    reads("candidates.jsonl", read_candidates, CANDIDATES, b'{"qid": 1, "query": "why", "docs": [["d1", "x"]]}\n'),
    reads("tasks.jsonl", read_tasks, TASK),
    reads("prices.toml", Prices.read, b'["gpt-5"]\ninput = 1.0\noutput = 2.0\n'),
    reads("prices.json", Prices.read, b'{"gpt-5": {"input": 1.0, "output": 2.0}}'),
    reads("sft.toml", lambda path: read_config(path, SFT), TOML),
    reads("grpo.toml", lambda path: read_config(path, GRPO), TOML.replace(b"max_length", b"steps")),
    reads("rewrites.json", lambda path: FromFile(str(path)), b'{"q1": "why not?"}'),
    reads("trace.jsonl", traced, CALL),
    *(run_folder(name, seed) for name, seed in
      {"run.trec": RUN, "manifest.json": MANIFEST, "notes.jsonl": NOTE, "trace.jsonl": CALL}.items()),
]  # fmt: skip

if __name__ == "__main__":
    main(TARGETS)
