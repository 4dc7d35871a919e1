"""Bulk work in processes of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from functools import cache, partial

from loky.process_executor import ProcessPoolExecutor

from app.bulk.job import Job, Result
from app.bulk.worker import BATCH_SIZE, Worker

IDLE_SECONDS = 10.0  # until a process ends by itself, when what began it was killed


def run_in_processes(processes: int, job: Job, names: Sequence[str]) -> Iterator[Result]:
    """Treats files in a few processes; the outcomes come in the order in which they are known.

    Raises:
        concurrent.futures.process.BrokenProcessPool: a process has died, or could not start.
    """
    pool = ProcessPoolExecutor(max_workers=processes, timeout=IDLE_SECONDS)
    treat = partial(_process, os.getpid(), job)
    try:
        begun = [pool.submit(treat, few) for few in batches(names, BATCH_SIZE)]
        for ended in as_completed(begun):
            yield from ended.result()
    finally:
        pool.shutdown(kill_workers=True)  # its threads would wait for more


def batches(names: Sequence[str], size: int) -> list[Sequence[str]]:
    """Cuts names into portions of `size`, the last of what is left."""
    return [names[start : start + size] for start in range(0, len(names), size)]


def _process(parent: int, job: Job, names: Sequence[str]) -> list[Result]:
    return _worker(parent, job)(names)


@cache  # one in each process
def _worker(parent: int, job: Job) -> Worker:
    return Worker(job, partial(_end_without, parent))


def _end_without(parent: int) -> None:
    """Ends this process if what began it was killed: its successor may be at work already."""
    if os.getppid() != parent:
        os._exit(1)
