"""`whyrank demo`: the main job from end to end, offline: search, rewrite, rerank with thought, and say why."""

from collections.abc import Iterator
from pathlib import Path
from textwrap import TextWrapper

from whyrank import experiment
from whyrank.datasets import load
from whyrank.errors import need
from whyrank.eval import compare, evaluate, table
from whyrank.llm.messages import Sampling
from whyrank.llm.transformers import Transformers
from whyrank.rerank.formats import RankingFormat
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.retrieval.lexical.bm25 import BM25
from whyrank.retrieval.rewrite import HyDE, Rewritten

MEASURES = ("nDCG@10", "P(rel=2)@5")


def demo(out: Path, questions: int = 48, depth: int = 30, width: int = 100) -> Iterator[str]:
    """Search, rewrite, rerank and explain questions of the world that the small model was never trained on.

    Each of them is about a symptom of a kind of thing in which training never saw it: two known facts meet anew.

    Args:
        out: where the run folders go; what is there already is not done again.
        questions: how many.
        depth: how many documents are reranked, in windows of 20.
        width: of a line of what is shown.

    Yields:
        What to show, as it comes.
    """
    need("torch", extra="transformers", asked_by="the demo").set_num_threads(1)  # as fast for so small a model
    data = load("world/composed").head(questions)
    prose = TextWrapper(width, break_on_hyphens=False).fill
    quoted = TextWrapper(width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False).fill
    told = (
        f"{data.name}: {len(data.corpus):,} documents, {len(data.queries)} questions that no training saw. The words "
        "of a question lead to traps, for example:"
    )
    yield f"{prose(told)}\n\n{quoted(data.queries[0].text)}\n"
    llm, brief = Transformers("tiny", batch=16), Sampling(max_tokens=400)
    bm25 = experiment.search(BM25(), data, out / "bm25", depth)
    found = experiment.search(Rewritten(BM25(), HyDE(llm, brief)), data, out / "rewritten", depth)
    note = experiment.open_run(found.folder, notes=True).notes[data.queries[0].id]
    yield f"The small model asks instead:\n\n{quoted(note.rewritten[0])}\n"
    direct = experiment.rerank(
        found.folder, Listwise(llm, format=RankingFormat(think="no"), sampling=brief), data, out / "direct", depth
    )
    reasoned = experiment.rerank(found.folder, Listwise(llm, sampling=brief), data, out / "reasoned", depth)
    reports = [
        evaluate(experiment.open_run(one.folder), data.qrels, MEASURES) for one in (bm25, found, direct, reasoned)
    ]
    yield f"{table(reports, width)}\n\n{compare(reports).table(width)}\n"
    yield experiment.explain(reasoned.folder, data.queries[0].id, data).explain(top=8, width=width)
    yield f"\nThe runs, with every model call, lie in {out}."
