"""Where verbs do their work: --on and --chunk, read and refused alike."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from whyrank.cli.output import say, say_json, tell_done, tell_made

if TYPE_CHECKING:
    from whyrank.distributed import Job, Place

On = Annotated[
    str | None,
    typer.Option(
        "--on", help="Do it in chunks, at once: local:N, N processes here; ray or ray:HOST:PORT. Limits hold for all."
    ),
]
Replicas = Annotated[
    str | None, typer.Option("--replicas", help="Of --on ray: how many actors, as 8, or at least and at most, as 2:8.")
]
OfChunks = Annotated[
    str | None,
    typer.Option("--chunk", help="Do it in chunks, and here every N-th from the I-th, counted from 0: I/N."),
]
ChunkSize = Annotated[
    int | None, typer.Option("--chunk-size", min=1, help="Lists in a chunk; else a 64th of all, 1,024 at most.")
]


def place(on: str | None, chunk: str | None, chunk_size: int | None, replicas: str | None = None) -> "Place | None":
    """Where work is to be done; None where it is to be done in one piece.

    Raises:
        BadInput: what is given is no place, or there are two.
    """
    from whyrank.distributed import Local, Share
    from whyrank.errors import BadInput

    if replicas is not None and not (on or "").startswith("ray"):
        raise BadInput("--replicas has no effect here: it is of --on ray")
    if on is not None and chunk is not None:
        raise BadInput("give --on, which does all chunks, or --chunk I/N, which does its share of them")
    if chunk is not None:
        if (given := re.fullmatch(r"(\d{1,9})/(\d{1,9})", chunk)) is None:
            raise BadInput(f"--chunk {chunk!r}: write I/N, as $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT")
        return Share(int(given[1]), int(given[2]))
    if on is None:
        if chunk_size is not None:
            raise BadInput("--chunk-size has no effect here: it is of --on and --chunk")
        return None
    if (given := re.fullmatch(r"local(?::(\d{1,4}))?", on)) is not None:
        return Local() if given[1] is None else Local(int(given[1]))
    if (given := re.fullmatch(r"ray(?:$|:)(.*)", on)) is not None:
        return _ray(given[1], replicas)
    raise BadInput(f"--on {on!r}: no such place: write local:4, for four processes here, or ray, for a cluster")


def _ray(address: str, replicas: str | None) -> "Place":
    from whyrank.distributed import Ray
    from whyrank.errors import BadInput

    counts = re.fullmatch(r"(\d{1,5})(?::(\d{1,5}))?", replicas or "1")
    if counts is None:
        raise BadInput(f"--replicas {replicas!r}: write how many, as 8, or at least and at most, as 2:8")
    if address and "://" not in f"ray:{address}" and not re.fullmatch(r"[\w.-]+:\d{1,5}", address):
        raise BadInput(f"--on ray:{address}: write ray, in the cluster, or ray:HOST:PORT")
    where = f"ray:{address}" if address.startswith("//") else address or "auto"
    return Ray((int(counts[1]), int(counts[2] or counts[1])), where)


def tell_job(job: "Job", json: bool) -> None:
    """Say how far a job is."""
    if "made" in job.report:
        made = next(name for name in ("pairs.jsonl", "tasks.jsonl") if (job.folder / name).is_file())
        tell_made(job.folder / made, job.report, json)
        return
    if job.report and "entries" not in job.report:
        told = f"{job.report['documents']:,} documents in {job.report['chunks']:,} shards"
        say_json({"folder": str(job.folder), **job.report}) if json else say(f"{job.folder}: {told}")
        return
    if job.report:
        tell_done(job.folder, job.report, json)
        return
    if json:
        say_json({"folder": str(job.folder), "chunks": {str(state): count for state, count in job.chunks.items()}})
        return
    states = ", ".join(f"{count:,} {state}" for state, count in job.chunks.items())
    say(f"{job.folder}: chunks: {states}; whyrank join {job.folder} puts them together once all are done")
