"""Bulk work in processes of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from functools import cache, partial

from loky.process_executor import ProcessPoolExecutor

from app.bulk.job import Job
from app.bulk.outcome import Outcome
from app.bulk.treatment import AT_ONCE, Treatment

IDLE_SECONDS = 10.0  # until a process ends by itself, when what began it was killed


def on_processes(processes: int, job: Job, names: Sequence[str]) -> Iterator[Outcome]:
    """Treats files in a few processes; the outcomes come in the order in which they are known.

    Raises:
        concurrent.futures.process.BrokenProcessPool: a process has died, or could not start.
    """
    pool = ProcessPoolExecutor(max_workers=processes, timeout=IDLE_SECONDS)
    treat = partial(_treated, os.getpid(), job)
    try:
        begun = [pool.submit(treat, few) for few in portions(names, AT_ONCE)]
        for ended in as_completed(begun):
            yield from ended.result()
    finally:
        pool.shutdown(kill_workers=True)  # its threads would wait for more


def portions(names: Sequence[str], size: int) -> list[Sequence[str]]:
    """Cuts names into portions of `size`, the last of what is left."""
    return [names[start : start + size] for start in range(0, len(names), size)]


def _treated(parent: int, job: Job, names: Sequence[str]) -> list[Outcome]:
    return _treatment(parent, job)(names)


@cache  # one in each process
def _treatment(parent: int, job: Job) -> Treatment:
    return Treatment(job, partial(_end_without, parent))


def _end_without(parent: int) -> None:
    """Ends this process if what began it was killed: its successor may be at work already."""
    if os.getppid() != parent:
        os._exit(1)
