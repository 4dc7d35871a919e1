"""Processes in which untrusted files are decoded, with limits of memory and time for each call.

A file that crashes a decoder, or makes it allocate or compute more than its header justifies,
costs its own request; the server and the other requests go on.
"""

from __future__ import annotations

import os
import re
import signal
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from queue import Empty, LifoQueue
from threading import Lock
from time import monotonic
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from app.errors import DamagedImage, DeadlineExceeded
from app.imaging.sandbox_messages import (
    BrokenMessageError,
    pack_request,
    receive_reply,
    send_request,
)
from app.imaging.sandbox_process import ForkServer

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_MEMORY = 256 << 20  # bytes that a call may allocate beyond those of its process
DEFAULT_CPU_SECONDS = 5.0
MAX_SLOWDOWN = 30  # seconds of waiting for a second of CPU time
_SHORTEST_WAIT = 1e-3  # seconds; 0 would not wait for the socket at all


@dataclass(frozen=True)
class Budget:
    """The limits of one call.

    Attributes:
        memory: bytes of address space beyond that of the process between calls.
        cpu_seconds: of one core; a call that uses more is ended: its file is made to harm.
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
            else min(longest, max(_SHORTEST_WAIT, self.deadline - monotonic()))
        )


class Outcome(StrEnum):
    """The end of a call."""

    OK = "ok"
    """The function returned."""
    REJECTED = "rejected"
    """The function raised an exception, such as for a damaged file."""
    TIMEOUT = "timeout"
    """The process was killed at the limit of CPU time or at the deadline."""
    CRASHED = "crashed"
    """The process died of the file."""
    RETRIED = "retried"
    """Something else killed the process, for example the kernel; the call was made again."""
    KILLED = "killed"
    """Something else killed the process of a call that was made again."""


class Sandbox:
    """A pool of processes, each of which runs one call at a time.

    A context manager: entering begins to import the decoders, leaving ends the processes. A
    process that died is replaced in milliseconds. More are started while more calls run at the
    same time than there are processes.
    """

    def __init__(self, processes: int = 1, preload: str = "") -> None:
        """`preload` is MODULE:FUNCTION, which is called before processes are forked."""
        self._size, self._preload = processes, preload
        self._server: ForkServer | None = None
        self._idle: LifoQueue[_Process] = LifoQueue()
        self._lock = Lock()
        self._starting = Lock()
        self._alive: set[_Process] = set()
        self._outcomes: Counter[Outcome] = Counter()
        self._seconds = 0.0

    def __enter__(self) -> Self:
        self._server = ForkServer(self._preload)
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
    def outcomes(self) -> dict[Outcome, int]:
        """The number of calls that ended in each way."""
        return {outcome: self._outcomes[outcome] for outcome in Outcome}

    @property
    def seconds(self) -> float:
        """The time that all calls took together."""
        return self._seconds

    @property
    def processes(self) -> list[int]:
        """The IDs of the processes that run calls."""
        return [process.pid for process in list(self._alive)]

    @property
    def memory(self) -> int:
        """The resident bytes of these processes and their server; see `proportional_memory`."""
        server = [] if self._server is None else [self._server.pid]
        return sum(map(proportional_memory, [*server, *self.processes]))

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function with the default budget; see `run_within`."""
        return self.run_within(Budget(), function, *args, **kwargs)

    def run_within(
        self, budget: Budget, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run a function in a process of the pool.

        Its arguments have to be picklable. It has to declare the type of its result, of which
        `app.imaging.sandbox_messages` can send it.

        Raises:
            DamagedImage: the process crashed, or exceeded the memory or the CPU time.
            DeadlineExceeded: the deadline passed; the process was killed.
            Problem, FormatError, DecoderError: the function raised it, or something else.
        """
        request = pack_request(function, args, kwargs)
        try:
            outcome, result = self._call(request, budget, function)
            if outcome is Outcome.KILLED:
                self._count(Outcome.RETRIED)
                outcome, result = self._call(request, budget, function)
            self._count(outcome)
        finally:
            os.close(request)
        if isinstance(result, Exception):
            raise result
        return result  # type: ignore[no-any-return]

    def _call(
        self, request: int, budget: Budget, function: Callable[..., Any]
    ) -> tuple[Outcome, Any]:
        """Make one call; return how it ended, and its result or exception."""
        begun = monotonic()
        try:
            process = self._idle.get_nowait()
        except Empty:
            process = self._start()
        try:
            result = process.call(request, budget, function)
        except (EOFError, OSError, BrokenMessageError) as error:  # TimeoutError is an OSError
            return _explain(error, self._end(process))
        except BaseException:
            self._end(process)
            raise
        finally:
            with self._lock:
                self._seconds += monotonic() - begun
        self._idle.put(process)
        return Outcome.REJECTED if isinstance(result, Exception) else Outcome.OK, result

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
                self._server = ForkServer(self._preload)
                return _Process(self._server)

    def _end(self, process: _Process) -> int:
        with self._lock:
            self._alive.discard(process)
        return process.end()

    def _count(self, outcome: Outcome) -> None:
        with self._lock:
            self._outcomes[outcome] += 1


def _explain(error: Exception, exit_code: int) -> tuple[Outcome, Exception]:
    """Return why a process has ended, and the error that its call raises."""
    if isinstance(error, TimeoutError):
        return Outcome.TIMEOUT, DeadlineExceeded("The image was not decoded by the deadline.")
    if exit_code == -signal.SIGPROF:
        message = "It takes longer to decode than images of its size do."
        return Outcome.TIMEOUT, DamagedImage(message)
    if exit_code == -signal.SIGKILL and not isinstance(error, BrokenMessageError):
        return Outcome.KILLED, DamagedImage(
            "Its decoder was killed twice: it needs too much memory."
        )
    return Outcome.CRASHED, DamagedImage("The image is built such that its decoder crashed.")


class _Process:
    """One process and the connection to it."""

    def __init__(self, server: ForkServer) -> None:
        self._server = server
        self._connection, theirs = socket.socketpair()
        with theirs:
            try:
                self.pid = server.fork(theirs)
            except (EOFError, OSError):
                self._connection.close()
                raise

    def call(self, request: int, budget: Budget, function: Callable[..., Any]) -> Any:
        """Run a call; return its result, or the exception that it raised.

        Raises:
            EOFError, OSError: the process has ended.
            TimeoutError: the deadline has passed.
            BrokenMessageError: the function does not return such results.
        """
        self._connection.settimeout(budget.seconds_left())
        send_request(self._connection, request, budget.memory, budget.cpu_seconds)
        return receive_reply(self._connection, function)

    def end(self) -> int:
        """Kill the process, unless it has ended; return its exit code."""
        self._connection.close()
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)  # its ID is not reused before it is waited for
        try:
            return self._server.wait(self.pid)
        except (EOFError, OSError):  # the server was killed before
            return -signal.SIGKILL


def proportional_memory(process: int) -> int:
    """Return the resident bytes of a process, those that it shares divided among the sharers.

    0 where the system does not report them, and for a process that has ended.
    """
    try:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return 0
    sizes: list[str] = re.findall(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    return 1024 * sum(map(int, sizes))


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
