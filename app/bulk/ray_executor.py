"""Bulk work on a Ray cluster, by Ray Data. Needs the extra `ray`."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from app.bulk.job import Job, Result, Status
from app.bulk.worker import BATCH_SIZE, CreateWork, Worker

MAX_BLOCKS = 2000  # of names: each block costs Ray some milliseconds
MAX_RETRIES = 1  # of a block whose process or node has died


def is_available() -> bool:
    """Return whether Ray is installed and a cluster runs, here or at RAY_ADDRESS; connect to it."""
    if find_spec("ray") is None:
        return False
    try:
        _connect("auto")
    except ConnectionError:
        return False
    return True


def run_on_ray(job: Job, names: Sequence[str], create: CreateWork = Worker) -> Iterator[Result]:
    """Enhance files on the running cluster, or on one that is started here.

    Each process has one core. Results are yielded as they are known. What a lost node or a dead
    process was at is repeated: first block by block, then file by file, so that a file which kills
    its process costs no other.

    Args:
        job: the job.
        names: the files.
        create: creates in each process what enhances files; must be importable on every node.

    Raises:
        RuntimeError: Ray gave up, or a process could not start.
    """
    import ray  # here: an extra, and it takes seconds to load
    from ray.exceptions import RayError

    if not ray.is_initialized():
        _connect(None)
    missing = dict.fromkeys(names)
    try:
        for size in (BATCH_SIZE, 1):
            for result in _run(job, list(missing), size, create):
                if result.source in missing:
                    del missing[result.source]
                    yield result
            if not missing:
                return
    except RayError as error:
        raise RuntimeError(f"Ray: {error}") from error
    for name in missing:
        yield Result(name, Status.FAILED, reason="the process that enhanced it died, repeatedly")


def _run(job: Job, names: Sequence[str], size: int, create: CreateWork) -> Iterator[Result]:
    """Enhance files in blocks of `size`, without the blocks whose process died."""
    import ray.data
    from ray.data import ActorPoolStrategy, DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False  # the command shows one
    context.max_errored_blocks = -1  # any number; the names without a result are known
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    # Arrow knows no text that is not UTF-8, as names may be; JSON of it is ASCII.
    rows = ray.data.from_items(
        [{"name": json.dumps(name)} for name in names],
        override_num_blocks=min(MAX_BLOCKS, -(-len(names) // size)),
    )
    enhanced = rows.map_batches(
        _RayWorker,
        fn_constructor_args=(job, create),
        batch_size=size,
        num_cpus=1,
        max_task_retries=MAX_RETRIES,
        compute=ActorPoolStrategy(min_size=1, max_size=_cores()),
    )
    for row in enhanced.iter_rows():
        yield Result.from_json(row["result"])


class _RayWorker:
    """A process of the cluster."""

    def __init__(self, job: Job, create: CreateWork) -> None:
        self._work = create(job)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        results = self._work([json.loads(str(name)) for name in batch["name"]])
        return {"result": [result.to_json() for result in results]}


def _cores() -> int:
    import ray

    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return max(1, int(resources.get("CPU", 1)))


def _connect(address: str | None) -> None:
    import ray

    ray.init(address, log_to_driver=False, logging_level=logging.WARNING)
