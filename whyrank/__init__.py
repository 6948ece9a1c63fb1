"""whyrank: retrieval and reranking that reason, and say why.

The public names stand in `__init__.pyi`; each is loaded from its room when first used, so that `import whyrank` is
quick and needs no optional package. In groups:

- nouns: Corpus, Dataset, Document, Qrels, Query, RankTask, Run
- files: read_ and write_ of candidates, qrels and run; read_corpus, read_queries
- retrievers: BM25, Lucene, Dense, Splade, Late, Tree, Agentic; Fuse and Rewritten around them; Retriever
- rerankers: Listwise, Pointwise, Pairwise, Setwise, EncoderRerank; Cascade, Hybrid, Route; Reranker, RankedList
- models: Transformers, VLLM, OpenAI, Fake; Budget, Sampling, Trace; LLM
- verbs: load, make, evaluate, compare; Report, Fusion

`whyrank.formats`, `whyrank.rewriters`, `whyrank.rewards` and `whyrank.errors` have the rest of their kind; all other
parts are reached by name, `make("top_down(fake())")`, and by their modules.
"""

import importlib
import warnings

import lazy_loader

__version__ = "0.1.0"

_lazy, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

_MOVED = {
    "Adaptive": "whyrank.rerank.strategies.adaptive",
    "BM25Q": "whyrank.retrieval.lexical.bm25",
    "BestWorst": "whyrank.rerank.formats",
    "Choice": "whyrank.rerank.formats",
    "ChoiceFormat": "whyrank.rerank.formats",
    "Comparison": "whyrank.eval",
    "Consensus": "whyrank.rerank.around.consensus",
    "DualEnd": "whyrank.rerank.strategies.dual_end",
    "Ends": "whyrank.rerank.formats",
    "Failed": "whyrank.llm.answer",
    "First": "whyrank.rerank.formats",
    "Format": "whyrank.rerank.formats",
    "GroupScoresFormat": "whyrank.rerank.formats",
    "Groupwise": "whyrank.rerank.strategies.groupwise",
    "LLMReranker": "whyrank.rerank.base",
    "MergeTree": "whyrank.rerank.strategies.merge_tree",
    "Message": "whyrank.llm.messages",
    "Ok": "whyrank.llm.answer",
    "Order": "whyrank.rerank.base",
    "Pair": "whyrank.rerank.formats",
    "Part": "whyrank.registry",
    "Permutation": "whyrank.rerank.formats",
    "Piece": "whyrank.llm.messages",
    "Plan": "whyrank.llm.schedule",
    "Prices": "whyrank.llm.ledger",
    "Prompt": "whyrank.llm.messages",
    "PseudoQuery": "whyrank.rerank.strategies.pseudo_query",
    "RM3": "whyrank.retrieval.around.feedback",
    "Radar": "whyrank.rerank.around.radar",
    "Ranking": "whyrank.types",
    "RankingFormat": "whyrank.rerank.formats",
    "Remote": "whyrank.retrieval.around.remote",
    "Request": "whyrank.rerank.base",
    "RerankAPI": "whyrank.rerank.strategies.rerank_api",
    "Rocchio": "whyrank.retrieval.around.feedback",
    "Rubric": "whyrank.rerank.formats",
    "Scores": "whyrank.rerank.formats",
    "SearchTool": "whyrank.retrieval.agentic.tool",
    "Sharded": "whyrank.retrieval.around.sharded",
    "TopDown": "whyrank.rerank.strategies.top_down",
    "Tournament": "whyrank.rerank.strategies.tournament",
    "WithScores": "whyrank.rerank.around.compose",
    "Within": "whyrank.rerank.around.within",
    "YesNo": "whyrank.rerank.formats",
    "learn_routes": "whyrank.calibration",
}
"""Names that stood here in 0.1, and where they are; here they are for one release more."""


def __getattr__(name: str) -> object:
    """A public name, loaded from its room; one that has moved, with a warning."""
    if name not in _MOVED:
        return _lazy(name)
    room = _MOVED[name]
    told = f"whyrank.{name} has moved: from {room} import {name}"
    warnings.warn(told, DeprecationWarning, stacklevel=2)
    return getattr(importlib.import_module(room), name)
