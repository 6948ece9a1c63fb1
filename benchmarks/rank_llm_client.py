"""rank_llm's OpenAI path on the task of `scheduler.py`; runs under the Python of rank_llm's own environment.

    python -m venv venv && venv/bin/pip install --no-deps rank_llm==0.25.7 transformers==4.51.3
    venv/bin/pip install torch "tokenizers<0.22" "huggingface_hub<1" safetensors numpy regex filelock packaging requests
    venv/bin/pip install openai tiktoken tqdm python-dotenv ftfy dacite pandas pyyaml
    venv/bin/python benchmarks/rank_llm_client.py http://127.0.0.1:8000/v1/ < task.json

It imports vLLM wherever it runs and counts with tiktoken, which downloads its tables: both have stand-ins here (tokens
are counted as words, which takes less time). Prints the seconds that the reranking took, imports aside.
"""

import json
import sys
import time
import types
from importlib.machinery import ModuleSpec
from typing import Any
from unittest import mock

import tiktoken

for name in ("vllm", "vllm.outputs"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__spec__ = ModuleSpec(name, None)
    sys.modules[name].RequestOutput = object  # type: ignore[attr-defined]
tiktoken.get_encoding = lambda name: mock.Mock(encode=str.split)

from rank_llm.data import Candidate, Query, Request  # noqa: E402 (behind what stands in for vllm and tiktoken)
from rank_llm.rerank.listwise import SafeOpenai  # noqa: E402 (likewise)
from rank_llm.rerank.rankllm import PromptMode  # noqa: E402 (likewise)


def main() -> None:
    """Read {"queries": {id: text}, "documents": {id: text}} and rerank all documents for each query."""
    task: dict[str, Any] = json.load(sys.stdin)
    ranker = SafeOpenai(
        "any", 100_000, PromptMode.RANK_GPT, window_size=20, stride=10, keys="none", base_url=sys.argv[1]
    )
    found = [Candidate(id, 1.0, {"text": text}) for id, text in task["documents"].items()]
    requests = [Request(Query(text, id), list(found)) for id, text in task["queries"].items()]
    start = time.perf_counter()
    results = ranker.rerank_batch(requests, rank_end=len(found))
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "first": [result.candidates[0].docid for result in results]}))


if __name__ == "__main__":
    main()
