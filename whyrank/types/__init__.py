"""The nouns of whyrank: Query, Document, Corpus, Ranking, Run, Qrels, Dataset, RankTask. Ids are always `str`.

Of recommendation: Event, History, Interactions, Catalogue. Of model calls: CallReport, and Note, which has those of a
query.
"""

from whyrank.types.calls import STATUSES, CallReport, Place, Repairs, SearchStep, Status, Usage, count_statuses
from whyrank.types.dataset import LARGEST_GRADE, Aspects, Dataset, Qrels
from whyrank.types.fingerprint import Fingerprint, is_fingerprint, joined
from whyrank.types.interactions import Catalogue, Event, History, Interactions
from whyrank.types.note import Evidence, Note, Search
from whyrank.types.run import Ranking, Run, float32, trec_order
from whyrank.types.task import RankTask
from whyrank.types.texts import NO_METADATA, Corpus, Document, Metadata, Query, Where, fingerprint, meets

__all__ = [
    "LARGEST_GRADE",
    "NO_METADATA",
    "STATUSES",
    "Aspects",
    "CallReport",
    "Catalogue",
    "Corpus",
    "Dataset",
    "Document",
    "Event",
    "Evidence",
    "Fingerprint",
    "History",
    "Interactions",
    "Metadata",
    "Note",
    "Place",
    "Qrels",
    "Query",
    "RankTask",
    "Ranking",
    "Repairs",
    "Run",
    "Search",
    "SearchStep",
    "Status",
    "Usage",
    "Where",
    "count_statuses",
    "fingerprint",
    "float32",
    "is_fingerprint",
    "joined",
    "meets",
    "trec_order",
]
