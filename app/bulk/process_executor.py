"""Bulk work in processes of this machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from queue import SimpleQueue
from threading import Lock, Thread

from app.bulk.job import Job, Result, Status
from app.bulk.worker import BATCH_SIZE, CreateWork, Worker
from app.errors import Problem


def run_in_processes(
    processes: int, job: Job, names: Sequence[str], create: CreateWork = Worker
) -> Iterator[Result]:
    """Enhance files in several processes; yield results as they are known.

    A process that dies costs its own files a second attempt, each file alone; the other processes
    go on. A file whose process dies again has failed.

    Args:
        processes: number of processes.
        job: the job.
        names: the files.
        create: creates in each process what enhances files; must be importable.

    Raises:
        RuntimeError: a process could not start.
    """
    workers = [_WorkerProcess(job, create) for _ in range(processes)]
    idle: SimpleQueue[_WorkerProcess] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def run(batch: Sequence[str]) -> list[Result]:
        worker = idle.get()
        try:
            return worker.run(batch)
        except _ProcessDiedError:
            return [_run_alone(worker, name) for name in batch]
        finally:
            idle.put(worker)

    threads = ThreadPoolExecutor(processes)  # each waits for a process
    try:
        futures = [threads.submit(run, batch) for batch in batches(names, BATCH_SIZE)]
        for future in as_completed(futures):
            yield from future.result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.close()


def batches(names: Sequence[str], size: int) -> list[Sequence[str]]:
    """Cut names into portions of `size`; the last has the rest."""
    return [names[start : start + size] for start in range(0, len(names), size)]


def _run_alone(worker: _WorkerProcess, name: str) -> Result:
    try:
        (result,) = worker.run([name])
    except _ProcessDiedError as error:
        reason = f"the process that enhanced it died, twice: {error}"
        return Result(name, Status.FAILED, reason=reason)
    return result


class _ProcessDiedError(Exception):
    """A process has died; the message tells how."""


class _WorkerProcess:
    """A process that is started when there is work, and again after it has died."""

    def __init__(self, job: Job, create: CreateWork) -> None:
        self._job, self._create = job, create
        self._process: SpawnProcess | None = None
        self._pipe: Connection
        self._lock = Lock()
        self._closed = False

    def run(self, names: Sequence[str]) -> list[Result]:
        """Have the process enhance files; return the result for each.

        Raises:
            _ProcessDiedError: the process died.
            RuntimeError: the process could not start.
        """
        process = self._process or self._start()
        try:
            self._pipe.send(names)
            results: list[Result] = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process = None
            process.kill()
            process.join()
            raise _ProcessDiedError(_describe(process.exitcode)) from error
        return results

    def close(self) -> None:
        """Kill the process; no other is started."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()

    def _start(self) -> SpawnProcess:
        context = get_context("spawn")  # fork would copy locks that threads hold
        self._pipe, theirs = context.Pipe()
        with self._lock:
            if self._closed:
                raise RuntimeError("the run has ended")
            process = context.Process(target=_serve, args=(theirs, self._job, self._create))
            process.start()
            self._process = process
        theirs.close()  # so that the end of the process is the end of the pipe
        try:
            problem = self._pipe.recv()
        except EOFError:
            process.join()
            problem = f"a process died as it started: {_describe(process.exitcode)}"
        if problem is not None:
            raise RuntimeError(problem)
        return process


def _describe(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit status {code}"


def _serve(pipe: Connection, job: Job, create: CreateWork) -> None:
    """Answer each list of names with the list of results, in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the parent ends this one
    Thread(target=_end_with_parent, daemon=True).start()
    try:
        work = create(job)
    except (Problem, ValueError, RuntimeError, OSError) as error:
        pipe.send(f"{error.title}: {error.detail}" if isinstance(error, Problem) else str(error))
        return
    pipe.send(None)
    while True:
        pipe.send(work(pipe.recv()))


def _end_with_parent() -> None:
    """End this process when its parent has: a new run may be at work on the same files."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
