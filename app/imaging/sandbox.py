"""Processes in which untrusted files are decoded, with limits of memory and time for each call.

A file that crashes a decoder, or makes it allocate or compute more than its header justifies,
costs its own request; the server and the other requests go on.
"""

from __future__ import annotations

import mmap
import os
import pickle
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from queue import Empty, LifoQueue
from threading import Lock
from time import monotonic
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from app.errors import DamagedImage, DeadlineExceeded
from app.imaging import sandbox_process
from app.imaging.fork_server import ForkServer

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_MEMORY = 256 << 20  # bytes that a call may allocate beyond what its process has
DEFAULT_CPU_SECONDS = 5.0
MAX_SLOWDOWN = 30  # seconds of waiting for a second of CPU time


@dataclass(frozen=True)
class Budget:
    """What one call may use.

    Attributes:
        memory: bytes of address space beyond what the process has between calls.
        cpu_seconds: of one core; a call that uses more is damaged by intention.
        deadline: on the clock of `time.monotonic`, or None.
    """

    memory: int = DEFAULT_MEMORY
    cpu_seconds: float = DEFAULT_CPU_SECONDS
    deadline: float | None = None

    def seconds_left(self) -> float:
        """Return how long to wait for a call that may share its core with many others."""
        longest = MAX_SLOWDOWN * (1 + self.cpu_seconds)
        return (
            longest
            if self.deadline is None
            else min(longest, max(0.0, self.deadline - monotonic()))
        )


@dataclass(frozen=True)
class SandboxStats:
    """What has happened so far.

    Attributes:
        calls: calls that were begun.
        crashes: processes that died of a file.
        timeouts: processes that were killed at the limit of CPU time or at a deadline.
        retries: calls that were repeated because something else had killed their process.
    """

    calls: int = 0
    crashes: int = 0
    timeouts: int = 0
    retries: int = 0


class _KilledError(Exception):
    """The process was killed from outside, for example by the kernel when memory ran out."""


class Sandbox:
    """A pool of processes, each of which runs one call at a time.

    A context manager: entering begins to import the decoders, leaving ends the processes. A
    process that died is replaced in milliseconds. More are started while more calls run at the
    same time than there are processes.
    """

    def __init__(self, processes: int = 1) -> None:
        self._size = processes
        self._server: ForkServer | None = None
        self._idle: LifoQueue[_Process] = LifoQueue()
        self._lock = Lock()
        self._starting = Lock()
        self._alive: set[_Process] = set()
        self._stats = SandboxStats()

    def __enter__(self) -> Self:
        self._server = ForkServer()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in list(self._alive):
            self._end(process)
        if self._server is not None:
            self._server.end()

    def warm_up(self) -> None:
        """Wait until the decoders are imported, and start the processes."""
        for _ in range(self._size - len(self._alive)):
            self._idle.put(self._start())

    @property
    def stats(self) -> SandboxStats:
        """What has happened so far."""
        return self._stats

    @property
    def processes(self) -> list[int]:
        """The IDs of the processes that are running."""
        return [process.pid for process in list(self._alive)]

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function with the default budget; see `run_within`."""
        return self.run_within(Budget(), function, *args, **kwargs)

    def run_within(
        self, budget: Budget, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run a function in a process of the pool; its arguments have to be picklable.

        Its result may hold numpy arrays, which are passed in shared memory.

        Raises:
            DamagedImage: the process crashed, or exceeded the memory or the CPU time.
            DeadlineExceeded: the deadline passed; the process was killed.
            Exception: whatever the function raised.
        """
        request = pickle.dumps((function, args, kwargs), protocol=5)
        try:
            return self._call(request, budget)  # type: ignore[no-any-return]
        except _KilledError:
            self._count(retries=1)
        try:
            return self._call(request, budget)  # type: ignore[no-any-return]
        except _KilledError:
            raise DamagedImage(
                "Its decoder was killed twice, so it needs too much memory."
            ) from None

    def _call(self, request: bytes, budget: Budget) -> Any:
        self._count(calls=1)
        try:
            process = self._idle.get_nowait()
        except Empty:
            process = self._start()
        try:
            result = process.call(request, budget)
        except (EOFError, OSError, TimeoutError) as error:
            raise self._explain(error, self._end(process)) from None
        except BaseException:
            self._end(process)
            raise
        self._idle.put(process)
        if isinstance(result, Exception):
            raise result
        return result

    def _explain(self, error: Exception, exit_code: int) -> Exception:
        if isinstance(error, TimeoutError):
            self._count(timeouts=1)
            return DeadlineExceeded("The image was not decoded by the deadline.")
        if exit_code == -signal.SIGXCPU:
            self._count(timeouts=1)
            return DamagedImage("It takes longer to decode than images of its size do.")
        if exit_code == -signal.SIGKILL:  # none of ours: those raise TimeoutError
            return _KilledError()
        self._count(crashes=1)
        return DamagedImage("The image is built such that its decoder crashed.")

    def _start(self) -> _Process:
        process = self._fork()
        with self._lock:
            self._alive.add(process)
        return process

    def _fork(self) -> _Process:
        with self._starting:
            if self._server is None:
                raise RuntimeError("the sandbox was not entered")
            try:
                return _Process(self._server)
            except (EOFError, OSError):  # something has killed the server
                self._server.end()
                self._server = ForkServer()
                return _Process(self._server)

    def _end(self, process: _Process) -> int:
        with self._lock:
            self._alive.discard(process)
        return process.end()

    def _count(self, **more: int) -> None:
        with self._lock:
            new = {name: getattr(self._stats, name) + count for name, count in more.items()}
            self._stats = replace(self._stats, **new)


class _Process:
    """One process and the connection to it."""

    def __init__(self, server: ForkServer) -> None:
        self._server = server
        self._connection, theirs = Pipe()
        with theirs:
            self.pid = server.fork(theirs)

    def call(self, request: bytes, budget: Budget) -> Any:
        """Run a pickled call.

        Raises:
            EOFError, OSError: the process has ended.
            TimeoutError: the deadline has passed.
        """
        self._connection.send((budget.memory, budget.cpu_seconds))
        self._connection.send_bytes(request)
        if not self._connection.poll(budget.seconds_left()):
            raise TimeoutError
        return _receive(self._connection)

    def end(self) -> int:
        """Kill the process, unless it has ended; return its exit code."""
        with suppress(OSError):
            self._connection.close()
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)  # its ID is not reused before it is waited for
        try:
            return self._server.wait(self.pid)
        except (EOFError, OSError):  # the server was killed before
            return -signal.SIGKILL


def run_in(
    sandbox: Sandbox | None,
    budget: Budget,
    function: Callable[P, R],
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """Run a function in a sandbox, or in this process if that is None."""
    if sandbox is None:
        return function(*args, **kwargs)
    return sandbox.run_within(budget, function, *args, **kwargs)


def _receive(connection: Connection) -> Any:
    """Receive a result: a pickle, and its arrays in shared memory."""
    pickled, sizes = pickle.loads(connection.recv_bytes())  # noqa: S301 -- bytes and integers
    buffers: Sequence[memoryview] = ()
    if sizes:
        handle = recv_handle(connection)
        try:
            shared = mmap.mmap(handle, sum(map(sandbox_process.aligned, sizes)))
        finally:
            os.close(handle)
        buffers = sandbox_process.split(memoryview(shared), sizes)
    return pickle.loads(pickled, buffers=buffers)  # noqa: S301 -- of our own functions
