"""Executors of bulk work: processes of this machine, or a Ray cluster."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib.util import find_spec
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

from app.bulk.run import Job, Result, Status
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
        create: creates the worker of each process; must be importable.

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
    """A process has died; the message states how."""


class _WorkerProcess:
    """A process that is started when there is work, and again after it has died."""

    def __init__(self, job: Job, create: CreateWork) -> None:
        self._job, self._create = job, create
        self._process: ForkServerProcess | None = None
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

    def _start(self) -> ForkServerProcess:
        context = get_context("forkserver")  # fork would copy locks that threads hold
        context.set_forkserver_preload([Worker.__module__])  # imported once for all processes
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
    """Reply to each list of names with the list of results, in a process of its own."""
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

    Each process has one core. Results are yielded as they are known. The files of a
    lost node or a dead process are repeated: first block by block, then file by file, so that a
    file which kills its process costs no other.

    Args:
        job: the job.
        names: the files.
        create: creates the worker of each process; must be importable on every node.

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
    # Arrow supports no text that is not UTF-8, as names may be; JSON of it is ASCII.
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
