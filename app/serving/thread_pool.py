"""Threads for pixels, and whose turn it is."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from math import inf
from queue import PriorityQueue
from threading import Thread
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

AGING_PER_PIXEL = 100e-9  # seconds a pixel: about eight times what one takes a core
NICENESS = 10  # of the workers, above the process's own


def priority_of(arrived: float, pixels: int) -> float:
    """When a photograph's turn is: smaller is earlier.

    A photograph is overtaken only by smaller ones that came less than HEAD_START * pixels after
    it: 0.1 s for a megapixel, 2.4 s for 24. So a small one waits for no more than the call that
    is running, while a large one cannot be put off for ever.

    Args:
        arrived: seconds, on any clock that does not jump.
        pixels: how many there are to do.
    """
    return arrived + AGING_PER_PIXEL * pixels


@dataclass(order=True, frozen=True)
class _Call:
    turn: float
    number: int  # among equals, first come, first served
    future: Future[Any] = field(compare=False)
    function: Callable[[], Any] = field(compare=False)

    def run(self) -> None:
        """Runs, unless it was cancelled first; the future tells the outcome."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self.function())
        except BaseException as error:  # it belongs to whoever waits
            self.future.set_exception(error)


class PriorityThreadPool:
    """Threads that run blocking calls in the order of their turns.

    An async context manager: entering starts the threads; leaving runs what was handed in, and
    ends them.
    """

    def __init__(self, threads: int) -> None:
        self._calls: PriorityQueue[_Call] = PriorityQueue()
        self._numbers = count()
        self._threads = [
            # A process that ends without leaving does not wait for them.
            Thread(target=self._work, name=f"worker-{number}", daemon=True)
            for number in range(threads)
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
        for _ in self._threads:
            self._submit(inf, _end)
        for thread in self._threads:
            thread.join()

    async def run(
        self, turn: float, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Runs a function on a worker.

        A caller that is cancelled is held until a call that has begun ends: what it admitted is
        still in memory. A call that has not begun is dropped.
        """
        call = self._submit(turn, partial(function, *args, **kwargs))
        waiting = asyncio.wrap_future(call)
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            if not call.cancel():
                with suppress(Exception):
                    await waiting
            raise

    def parallel_map(
        self, turn: float, function: Callable[[T], object], parts: Sequence[T]
    ) -> None:
        """Runs a function on each part, here and on whichever workers are idle meanwhile.

        Blocks: call it on a worker. What nobody else has begun is done here, so a lone request
        has all the cores, and under load each keeps to its own.

        Raises:
            Exception: whatever the function raised.
        """
        first, *others = parts
        calls = [self._submit(turn, partial(function, part)) for part in others]
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

    def _submit(self, turn: float, function: Callable[[], R]) -> Future[R]:
        future: Future[R] = Future()
        self._calls.put(_Call(turn, next(self._numbers), future, function))
        return future

    def _work(self) -> None:
        _lower_priority()
        while (call := self._calls.get()).function is not _end:
            call.run()


def _lower_priority() -> None:
    """Lets the event loop and the network go first where the workers fill all cores.

    Probes and refusals take microseconds, but behind workers they would wait for a time slice.
    """
    if sys.platform == "linux":  # elsewhere it is of the process, not of a thread
        os.nice(NICENESS)


def _end() -> None:
    """What the last call of each thread is."""
