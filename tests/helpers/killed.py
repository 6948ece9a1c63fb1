"""A rerank in a process of its own, which dies by SIGKILL in the middle of a write."""

import os
import signal
from pathlib import Path

import openai

from whyrank import journal
from whyrank.experiment import rerank
from whyrank.registry import make
from whyrank.rerank.base import Reranker
from whyrank.types import Corpus, Dataset, Document, Query, Run

QUERIES = [f"q{at}" for at in range(4)]
DOCUMENTS = [f"d{at}" for at in range(12)]
DATA = Dataset(
    "made",
    Corpus(Document(id, f"passage {id}, as long as " + "it takes " * (at % 5)) for at, id in enumerate(DOCUMENTS)),
    tuple(Query(id, f"what is {id}?") for id in QUERIES),
)
FIRST = Run.of({query: DOCUMENTS[at:] + DOCUMENTS[:at] for at, query in enumerate(QUERIES)}, name="first")

CHAT = openai.AsyncOpenAI(api_key="none", base_url="http://none").chat.completions  # loads what the first call would


def start(spec: str, depth: int, first: str, folder: str, key: str, last: int | None) -> None:
    """Rerank the run at `first` into `folder`, known to the server by `key`.

    With `last`, the process is gone once the trace is so many bytes long, be it in the middle of a line.
    """
    os.environ["OPENAI_API_KEY"] = key
    write = journal._write

    def mortal(file: int, data: bytes) -> None:
        room = last - os.fstat(file).st_size
        if room <= len(data):
            write(file, data[: max(room, 0)])
            os.kill(os.getpid(), signal.SIGKILL)
        write(file, data)

    if last is not None:
        journal._write = mortal
    rerank(first, make(spec, Reranker), DATA, Path(folder), depth)
