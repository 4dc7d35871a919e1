"""Threads for the work on pixels, in the order of priorities."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from threading import Condition, Lock, Thread, get_ident
from time import monotonic
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from app.policies import NICENESS

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

AGING_PER_PIXEL = 100e-9  # seconds per pixel: about eight times the work on one core
LONG = 0.5  # seconds; a brief call does not wait for calls that already take longer
_POLL = 0.1  # seconds between looks at the calls that run, while a brief call waits for them


class BriefPriority(float):
    """The priority of a call that takes about a second at most."""


def priority_of(arrived: float, pixels: int, *, brief: bool = False) -> float:
    """Return the priority of an image; smaller is earlier.

    An image is overtaken only by smaller ones that arrive less than AGING_PER_PIXEL * pixels
    after it: 0.1 s for a megapixel, 2.4 s for 24. A small image waits for no more than the call
    that is running, and a large one is not delayed without end.

    Args:
        arrived: seconds, on any clock that does not jump.
        pixels: how many pixels are to be processed.
        brief: whether that takes about a second at most.
    """
    priority = arrived + AGING_PER_PIXEL * pixels
    return BriefPriority(priority) if brief else priority


class _Call(Future[R]):
    """A call, and the future of its result.

    One object, because two that refer to each other would keep images in memory until the garbage
    collector runs.
    """

    def __init__(self, function: Callable[[], R]) -> None:
        super().__init__()
        self.function: Callable[[], R] | None = function

    def run(self) -> None:
        """Run the function, unless the call was cancelled first."""
        if not self.set_running_or_notify_cancel():
            return
        function, self.function = self.function, None
        assert function is not None  # noqa: S101 -- cancelling alone takes it away
        try:
            self.set_result(function())
        except BaseException as error:  # it belongs to whoever waits for the future
            self.set_exception(error)

    def cancel(self) -> bool:
        """Cancel, unless it runs; free its arguments at once."""
        cancelled = super().cancel()
        if cancelled:
            self.function = None
        return cancelled


async def run_in_daemon(function: Callable[[], R]) -> R:
    """Run a function that may never return on a thread which does not keep the process alive.

    Threads of the event loop's executor do, for five minutes and then until they end.
    """
    call = _Call(function)
    Thread(target=call.run, daemon=True).start()
    return await asyncio.wrap_future(call)


class PriorityThreadPool:
    """Threads that run blocking calls in the order of their priorities.

    One further thread runs brief calls (see `BriefPriority`), one at a time, while all others run
    calls that take long: a few large images must not stop the service for small ones.

    An async context manager: entering starts the threads; leaving runs the calls that were
    submitted, and ends the threads.
    """

    def __init__(self, threads: int) -> None:
        # A heap of priority and number: among equals, first come, first served.
        self._calls: list[tuple[float, int, _Call[Any]]] = []
        self._numbers = count()
        self._begun: dict[int, float] = {}  # of the calls that run, by thread
        self._closed = False
        lock = Lock()
        self._submitted = Condition(lock)
        self._brief = Condition(lock)  # a brief call waits, and no thread is idle
        self._polling = False
        self._size = threads
        self._threads = [
            # A process that ends without leaving does not wait for them.
            Thread(target=self._work, args=(take,), name=f"worker-{number}", daemon=True)
            for number, take in enumerate([*[self._next] * threads, self._next_brief])
        ]

    async def __aenter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._submitted:
            self._closed = True
            self._submitted.notify_all()
            self._brief.notify_all()
        for thread in self._threads:
            thread.join()

    def submit(
        self, priority: float, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> Future[R]:
        """Run a function on a thread; a call that is cancelled before its turn is not run."""
        call = _Call(partial(function, *args, **kwargs))
        with self._submitted:
            heappush(self._calls, (priority, next(self._numbers), call))
            self._submitted.notify()
            self._notify_brief()
        return call

    @property
    def longest_call(self) -> float:
        """Seconds since the oldest call that still runs was begun; 0 if none runs."""
        begun = min(self._begun.copy().values(), default=inf)
        return max(0.0, monotonic() - begun)

    def parallel_map(
        self, priority: float, function: Callable[[T], object], parts: Sequence[T]
    ) -> None:
        """Run a function on each part, on this thread and on whichever threads are idle.

        Blocks: call it on a thread of the pool. Parts that no other thread has begun are run
        here, so a lone request has all the cores, and under load each request keeps to one.

        Raises:
            Exception: whatever the function raised.
        """
        first, *others = parts
        calls = [self.submit(priority, function, part) for part in others]
        try:
            function(first)
            for call, part in zip(calls, others, strict=True):
                if call.cancel():
                    function(part)
        finally:
            begun = [call for call in calls if not call.cancel()]
            wait(begun)
        for call in begun:
            call.result()

    def _work(self, take: Callable[[], _Call[Any] | None]) -> None:
        _lower_priority()
        while (call := take()) is not None:
            call.run()
            del self._begun[get_ident()]
            del call  # it holds the result, which may be an image

    def _next(self) -> _Call[Any] | None:
        """Wait for the call that is next, and note its begin; None when the pool ends."""
        with self._submitted:
            self._submitted.wait_for(lambda: self._calls or self._closed)
            if not self._calls:
                return None
            _, _, call = heappop(self._calls)
            self._begun[get_ident()] = monotonic()
            self._notify_brief()
            return call

    def _next_brief(self) -> _Call[Any] | None:
        """Wait for a brief call that all other threads keep waiting; None when the pool ends."""
        with self._brief:
            while not self._closed:
                brief = min(filter(_is_brief, self._calls), default=None)
                if brief is not None and self._all_take_long():
                    self._calls.remove(brief)
                    heapify(self._calls)
                    self._begun[get_ident()] = monotonic()
                    return brief[2]
                self._polling = brief is not None
                self._brief.wait(_POLL if self._polling else None)
            return None

    def _notify_brief(self) -> None:
        """Wake the further thread if it sleeps, no other thread is idle, and a brief call waits."""
        if (
            not self._polling
            and len(self._begun) >= self._size
            and any(map(_is_brief, self._calls))
        ):
            self._brief.notify()

    def _all_take_long(self) -> bool:
        """Return whether every thread has run its call for longer than `LONG`."""
        begun = list(self._begun.copy().values())
        return len(begun) >= self._size and max(begun) < monotonic() - LONG


def _is_brief(entry: tuple[float, int, _Call[Any]]) -> bool:
    return isinstance(entry[0], BriefPriority)


def _lower_priority() -> None:
    """Let the event loop and the network run first where the threads occupy all cores.

    Probes and rejections take microseconds, but behind the threads they would wait for a time
    slice.
    """
    if sys.platform == "linux":  # elsewhere niceness is of the process, not of a thread
        os.nice(NICENESS)
