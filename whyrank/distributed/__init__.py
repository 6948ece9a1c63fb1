"""Work beyond one process: cut into chunks that are ordinary run folders, done wherever there are workers, and joined.

    rerank("runs/bm25", "listwise(vllm('Qwen/Qwen3-8B'))", "beir/scifact", "runs/big", on=Local(4))

Where it runs is no part of what is asked: any place, any number of workers, any order and any number of deaths give the
bytes of one process. See `whyrank.io.chunks` for the folder.
"""

from whyrank.distributed.job import Job, index, join, rerank, search, status, synthesise
from whyrank.distributed.local import Local, Share
from whyrank.distributed.place import Place
from whyrank.distributed.ray import Ray

__all__ = ["Job", "Local", "Place", "Ray", "Share", "index", "join", "rerank", "search", "status", "synthesise"]
