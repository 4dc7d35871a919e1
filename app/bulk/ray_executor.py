"""Bulk work on a Ray cluster, by Ray Data; only this file imports ray."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from app.bulk.job import Job, Result
from app.bulk.worker import BATCH_SIZE, Worker

MOST_BLOCKS = 2000  # of names: each costs Ray some milliseconds


def is_available() -> bool:
    """Whether ray is installed, and a cluster runs here or where RAY_ADDRESS says; connects."""
    if find_spec("ray") is None:
        return False
    try:
        _connect("auto")
    except ConnectionError:
        return False
    return True


def run_on_ray(job: Job, names: Sequence[str]) -> Iterator[Result]:
    """Treats files on the cluster that is there, or on one begun here; a core for each process.

    What a lost node was at is done again by another. The outcomes come as they are known.

    Raises:
        RuntimeError: Ray gave up, or a process could not start.
    """
    import ray.data  # here, because it is an extra, and takes seconds to load
    from ray.data import ActorPoolStrategy, DataContext
    from ray.exceptions import RayError

    if not ray.is_initialized():
        _connect(None)
    DataContext.get_current().enable_progress_bars = False  # there is one already
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    most = _cores()
    blocks = min(MOST_BLOCKS, -(-len(names) // BATCH_SIZE))
    treated = ray.data.from_items(
        [{"name": name} for name in names], override_num_blocks=blocks
    ).map_batches(
        _RayWorker,
        fn_constructor_args=(job,),
        batch_size=BATCH_SIZE,
        num_cpus=1,
        compute=ActorPoolStrategy(min_size=1, max_size=most),
    )
    try:
        for row in treated.iter_rows():
            yield Result.model_validate_json(row["outcome"])
    except RayError as error:
        raise RuntimeError(f"Ray: {error}") from error


class _RayWorker:
    """A process of the cluster."""

    def __init__(self, job: Job) -> None:
        self._treatment = Worker(job)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        outcomes = self._treatment([str(name) for name in batch["name"]])
        return {"outcome": [outcome.model_dump_json() for outcome in outcomes]}


def _cores() -> int:
    import ray

    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return max(1, int(resources.get("CPU", 1)))


def _connect(address: str | None) -> None:
    import ray

    ray.init(address, log_to_driver=False, logging_level=logging.WARNING)
