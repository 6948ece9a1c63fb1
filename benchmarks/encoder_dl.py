"""MiniLM over the BM25 top 100 of TREC DL 2019 and 2020: nDCG@10 before and after, as a bi-encoder.

Run: WHYRANK_DATA=… python benchmarks/encoder_dl.py
Takes some 100 s for each set on two cores.
"""

import time

from whyrank.datasets import load
from whyrank.eval import evaluate
from whyrank.rerank.strategies.encoder import EncoderRerank

SETS = ("trec_dl/dl19", "trec_dl/dl20")


def main() -> None:
    """Print one line for each set."""
    reranker = EncoderRerank("minilm")
    print(f"{'set':14} {'BM25':>7} {'MiniLM':>7} {'passages/s':>11}")
    for name in SETS:
        data = load(name)
        if data.candidates is None:
            raise SystemExit(f"{name} has no candidates: set WHYRANK_DATA to the folder with trec_dl/")
        start = time.perf_counter()
        run = reranker.rerank(data.candidates, data, depth=100)
        speed = len(data.corpus) / (time.perf_counter() - start)
        before, after = (evaluate(which, data.qrels, ["nDCG@10"]).means["nDCG@10"] for which in (data.candidates, run))
        print(f"{name:14} {before:7.4f} {after:7.4f} {speed:11.1f}")


if __name__ == "__main__":
    main()
