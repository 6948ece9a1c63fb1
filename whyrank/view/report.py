"""`write_report`: finished runs as one HTML file."""

from collections.abc import Sequence
from pathlib import Path

from whyrank.datasets import load
from whyrank.errors import BadInput, want
from whyrank.eval.measures import parse_measures
from whyrank.experiment import refuse_other_protocols
from whyrank.experiment.finished import data_of
from whyrank.progress import warn
from whyrank.types import Corpus, Dataset, Qrels, Query
from whyrank.view.blocks import block
from whyrank.view.page import write_page
from whyrank.view.summary import summary
from whyrank.view.systems import System, open_systems

MEASURES = ("nDCG@10", "R@100")


def write_report(
    sources: Sequence[str | Path],
    out: str | Path,
    data: Dataset | str | Path | None = None,
    measures: Sequence[str] = MEASURES,
    *,
    depth: int = 100,
    chars: int = 600,
    trust: bool = False,
) -> Path:
    """Write one HTML file in which people look at runs: it holds all it needs, and asks no network for anything.

    Runs are compared with the first. What is shown of each query is packed, and unpacked when it is opened, so that
    thousands of queries open at once. Text of documents and models is shown as text, whatever is in it.

    Args:
        sources: run folders or files.
        out: the file, `.html`.
        data: texts and judgements; None takes the data set that the first run folder was made on, where it is at hand.
        measures: names of measures, as `evaluate` takes them.
        depth: how many documents of each ranking.
        chars: how many characters of each passage.
        trust: let a folder name its data set by a function, which is then imported and called.

    Raises:
        NotFound: there is no such run or data set.
        BadInput: no run; an unknown measure; a run of another data set; a depth or length below 1.
        Untrusted: a folder names its data by a function.

    Examples:
        >>> import tempfile
        >>> from whyrank.io import write_run
        >>> from whyrank.types import Run
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_run(Run.of({"q01": ["d02", "d60"]}), folder / "mine.trec")
        >>> write_report([folder / "mine.trec"], folder / "mine.html", "toy").name
        'mine.html'
    """
    if isinstance(sources, str | Path) or not sources:
        raise BadInput("write_report: hand in a list of run folders or files, at least one")
    for name, number in (("depth", depth), ("chars", chars)):
        want(number, int, f"write_report: {name}", "hand in a whole number from 1 on")
        if number < 1:
            raise BadInput(f"write_report: {name} must be at least 1, not {number}")
    names = list(parse_measures(list(measures)))
    found = _data(sources, data, trust)
    if found.qrels:
        refuse_other_protocols(sources, found.qrels.protocol)
    systems = open_systems(sources, found, names)
    queries = _queries(systems, found)
    judged = names if systems[0].report is not None else []
    told = summary(systems, found, judged, queries)
    write_page(Path(out), told, (block(systems, found, query, depth, chars) for query in queries))
    return Path(out)


def _data(sources: Sequence[str | Path], data: Dataset | str | Path | None, trust: bool) -> Dataset:
    if isinstance(data, str | Path):
        return load(data)
    found = data or next((found for one in sources if (found := data_of(one, trust)) is not None), None)
    if found is None:
        warn("the data of these runs are not at hand, and ids stand alone: say by --data where they are")
    return found or Dataset("unknown data", corpus=Corpus(()), qrels=Qrels({}))


def _queries(systems: Sequence[System], data: Dataset) -> list[Query]:
    """Those that a run ranks or somebody judged, in the order of the data set."""
    wanted = {query for system in systems for query in system.run} | {id for id, grades in data.qrels.items() if grades}
    known = {query.id: query for query in data.queries}
    ordered = dict.fromkeys([*(id for id in known if id in wanted), *sorted(wanted - known.keys())])
    return [known.get(id, Query(id, "")) for id in ordered]
