"""The nouns of whyrank: Query, Document, Corpus, Ranking, Run, Qrels, Dataset, RankTask. Ids are always `str`."""

from whyrank.types.dataset import LARGEST_GRADE, Dataset, Qrels
from whyrank.types.fingerprint import Fingerprint, is_fingerprint, joined
from whyrank.types.run import Ranking, Run, float32, trec_order
from whyrank.types.task import RankTask
from whyrank.types.texts import NO_METADATA, Corpus, Document, Metadata, Query, Where, fingerprint, meets

__all__ = [
    "LARGEST_GRADE",
    "NO_METADATA",
    "Corpus",
    "Dataset",
    "Document",
    "Fingerprint",
    "Metadata",
    "Qrels",
    "Query",
    "RankTask",
    "Ranking",
    "Run",
    "Where",
    "fingerprint",
    "float32",
    "is_fingerprint",
    "joined",
    "meets",
    "trec_order",
]
