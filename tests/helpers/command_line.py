"""Calling the command line in this process, and a folder of good and broken files to call it on."""

import io
import json
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from whyrank import cli

ANSWER = "<think>[2] is better</think><answer>[2] > [1]</answer>"


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """The last line on stderr."""
        return (self.err.splitlines() or [""])[-1]


def call(folder: Path, *arguments: object) -> Ended:
    """Run `whyrank ARGUMENTS` in a folder; whatever it raises but its exit is raised here, too."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    argv = ["whyrank", *map(str, arguments)]
    with chdir(folder), redirect_stdout(out), redirect_stderr(err), patch.object(sys, "argv", argv):
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    return Ended(code, out.getvalue(), err.getvalue())


def files(folder: Path) -> Path:
    """Fill a folder with data, runs and their like, good ones and broken ones; returns it."""
    texts = {
        "empty": "",
        "text.txt": "Dear reader,\nthis is no data.\n",
        "table.csv": "id,text\n1,one\n",
        "bad.json": '{"task":',
        "list.json": "[1, 2, 3]",
        "scores.json": json.dumps({"q01": {"d01": 1.0}}),
        "nan.json": '{"q01": {"d01": NaN}}',
        "deep.json": "[" * 100_000,
        "run.trec": "q01 Q0 d01 1 2.0 a\nq01 Q0 d02 2 1.0 a\n",
        "twice.trec": "q01 Q0 d01 1 2.0 a\nq01 Q0 d01 2 1.0 a\n",
        "other.trec": "x1 Q0 d1 1 1.0 other\n",
        "qrels.txt": "q01 0 d01 1\n",
        "bad.qrels": "q01 0 d01 1.x\n",
        "bad.jsonl": '{"_id": "d1"}\n{"_id": ',
        "prices.toml": "[fake]\ninput = 1.0\noutput = 1.0\n",
        "bad.toml": "output = \n",
        "sft.toml": "output = 'x'\n[[stages]]\nstepz = 3\n",
        "types.toml": "output = 3\nmodel = 'x'\nstages = 'none'\n",
        "onlycorpus/corpus.jsonl": '{"_id": "d1", "text": "one"}\n',
        "noqueries/queries.jsonl": "",
        "noqueries/corpus.jsonl": '{"_id": "d1", "text": "one"}\n',
        "notrun/manifest.json": "[]",
        "nomanifest/run.trec": "q01 Q0 d01 1 2.0 a\n",
        "rewrites.json": '{"q01": 3}',
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "binary").write_bytes(bytes(range(256)))
    (folder / "latin.jsonl").write_bytes('{"_id": "d1", "text": "naïve"}\n'.encode("latin-1"))
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to("loop")
    for command in (
        ("train", "queries", "--data", "toy", "-o", "tasks.jsonl"),
        ("search", "bm25()", "--data", "toy", "-k", 5, "-o", "bm25"),
        ("rerank", "bm25", f"listwise(fake({ANSWER!r}))", "--data", "toy", "--depth", 3, "-o", "lw"),
    ):
        ended = call(folder, *command)
        assert ended.code == 0, ended.err
    return folder
