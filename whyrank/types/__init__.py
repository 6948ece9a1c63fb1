"""The nouns of whyrank: Query, Document, Corpus, Ranking, Run, Qrels, Dataset, RankTask. Ids are always `str`.

Of recommendation: Event, History, Interactions, Catalogue.
"""

from whyrank.types.dataset import LARGEST_GRADE, Dataset, Qrels
from whyrank.types.fingerprint import Fingerprint, is_fingerprint, joined
from whyrank.types.interactions import Catalogue, Event, History, Interactions
from whyrank.types.run import Ranking, Run, float32, trec_order
from whyrank.types.task import RankTask
from whyrank.types.texts import NO_METADATA, Corpus, Document, Metadata, Query, Where, fingerprint, meets

__all__ = [
    "LARGEST_GRADE",
    "NO_METADATA",
    "Catalogue",
    "Corpus",
    "Dataset",
    "Document",
    "Event",
    "Fingerprint",
    "History",
    "Interactions",
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
