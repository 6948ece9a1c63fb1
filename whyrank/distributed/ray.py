"""Workers on a Ray cluster: Ray Data carries numbers of chunks to actors, and what became of them back.

Texts, calls and results stay in files that all machines see; parts are built from their specs in each actor, and keys
are those of its environment. Ray starts actors, restarts those that die, and knows GPUs; see `docs/scale.md`.
"""

import asyncio
import json
import os
import secrets
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from whyrank.distributed.place import Place, Take
from whyrank.distributed.work import VERBS, Work
from whyrank.distributed.worker import Outcome, Worker
from whyrank.errors import BadInput, WhyrankError, need
from whyrank.experiment import Limits
from whyrank.experiment.folder import ENGINES
from whyrank.io.folders import versions
from whyrank.llm.engine import LLM
from whyrank.llm.ledger import Price, Prices
from whyrank.parameters import walk

TOKEN = "seen-by-all"
"""A file in the folder of the work; a worker that cannot read it is on a machine that does not see the folder."""

SAME = ("whyrank", "python")
"""What must be of one version on all machines; of engines, those that both have."""


@dataclass(frozen=True)
class Ray(Place):
    """Actors of a Ray cluster that runs already; each keeps its part, its data and its engine.

    Attributes:
        replicas: how many actors, at least and at most.
        address: "auto" for the cluster that this process is part of, or host:port of its head.
        cpus: processors for each actor.
    """

    replicas: tuple[int, int] = (1, 1)
    address: str = "auto"
    cpus: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no number of actors, and addresses of Ray Client.

        Raises:
            BadInput: the least is below 1 or above the most, or the address is one of Ray Client.
        """
        least, most = self.replicas
        if not 1 <= least <= most:
            raise BadInput(f"replicas must be A:B with 1 ≤ A ≤ B, not {least}:{most}")
        if "://" in self.address:
            raise BadInput(
                f"{self.address}: Ray Client loses work when its connection is lost: run the command in the cluster, "
                "ray job submit -- whyrank …, with --on ray"
            )

    @property
    def workers(self) -> int:  # type: ignore[override]
        """How many chunks are under way at once, at most."""
        return self.replicas[1]

    def run(self, work: Work, start: str, take: Take) -> Iterator[Outcome]:
        """Do chunks, as `Place.run` says.

        Raises:
            MissingExtra: Ray is not installed.
            BadInput: the data are no name that an actor could load, or there is no cluster at the address.
        """
        if work.data is not None and not isinstance(work.data, str):
            raise BadInput("actors load the data by its name: give the name or folder of a data set")
        numbers = list(iter(take, None))
        if not numbers:
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray, data = need("ray", extra="distributed"), need("ray.data", extra="distributed")
        _connect(ray, self.address)
        token = secrets.token_hex(16)
        (Path(work.out) / TOKEN).write_text(token)
        told = as_text(replace(work, workers=self.workers), start, token)
        data.DataContext.get_current().enable_progress_bars = False
        least, most = (min(count, len(numbers)) for count in self.replicas)
        rows = data.from_items([{"chunk": number} for number in numbers], override_num_blocks=len(numbers))
        done = rows.map_batches(
            _Actor,
            batch_size=1,
            fn_constructor_args=(told,),
            compute=data.ActorPoolStrategy(min_size=least, max_size=most),
            num_cpus=self.cpus,
            num_gpus=_gpus(work) if ray.cluster_resources().get("GPU") else 0,
            max_concurrency=1,
            max_restarts=-1,
            max_task_retries=-1,
        )
        for row in done.iter_rows():
            if row["error"]:
                raise WhyrankError(str(row["error"]))
            yield Outcome(**json.loads(row["outcome"]))


class _Actor:
    """What runs in an actor; asynchronous, since Ray runs a plain class on a thread that answers nothing else."""

    def __init__(self, told: str) -> None:
        self._told = told
        self._worker: Worker | None = None
        self._error = ""

    async def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Do the chunks of a batch, which is one."""
        outcomes = [await asyncio.to_thread(self._do, int(number)) for number in batch["chunk"]]
        return {"outcome": [outcome for outcome, _ in outcomes], "error": [error for _, error in outcomes]}

    def _do(self, number: int) -> tuple[str, str]:
        if self._worker is None and not self._error:
            try:
                self._worker = worker_of(self._told)
            except WhyrankError as error:
                self._error = f"{socket.gethostname()}: {error}"
        if self._worker is None:
            return "", self._error
        return json.dumps(asdict(self._worker.do(number))), ""


def as_text(work: Work, start: str, token: str) -> str:
    """What an actor is told, as JSON."""
    limits = asdict(work.limits)
    told = {field: getattr(work, field) for field in work.__dataclass_fields__ if field != "limits"}
    absolute = {"out": str(Path(work.out).resolve())}
    if work.source:
        absolute["source"] = str(Path(work.source).resolve())
    if isinstance(work.data, str) and Path(work.data).exists():
        absolute["data"] = str(Path(work.data).resolve())
    about = {"work": told | absolute, "limits": limits, "start": start, "token": token}
    return json.dumps(about | {"versions": versions(ENGINES)})


def worker_of(told: str) -> Worker:
    """The worker that `as_text` tells of.

    Raises:
        BadInput: this machine does not see the folder of the work, or has other versions of what is used.
    """
    given = json.loads(told)
    work, limits = given["work"], given["limits"]
    token = Path(work["out"]) / TOKEN
    if not token.is_file() or token.read_text() != given["token"]:
        raise BadInput(f"{work['out']} is not the folder that the driver writes to: it must be on storage that all see")
    here = versions(ENGINES)
    names = [*SAME, *(here.keys() & given["versions"].keys())]
    if differ := next((name for name in names if here.get(name) != given["versions"].get(name)), None):
        raise BadInput(f"{differ} is {here.get(differ)} here and {given['versions'].get(differ)} with the driver")
    if limits["prices"] is not None:
        table = {model: Price(**price) for model, price in limits["prices"]["table"].items()}
        limits["prices"] = Prices(table)
    return Worker(Work(**work, limits=Limits(**limits)), given["start"])


def _connect(ray: Any, address: str) -> None:  # noqa: ANN401 (an optional package)
    if ray.is_initialized():
        return
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise BadInput(
            f"no Ray cluster at {address} ({error}): start one by ray start --head, or run the command in one, by ray "
            "job submit -- whyrank …"
        ) from None


def _gpus(work: Work) -> float:
    """How many GPUs an actor needs: what the engines of the part say."""
    part = VERBS[work.verb](work).part
    return float(sum(getattr(inner, "gpus", 0) or 0 for inner in walk(part) if isinstance(inner, LLM)))
