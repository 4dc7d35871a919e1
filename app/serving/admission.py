"""Admission control: limits the requests in flight and their memory."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from time import monotonic

from app.errors import Draining, Overloaded, TooMuchMemory
from app.policies import AdmissionPolicy
from app.serving.permit import Permit

SMOOTHING = 0.1  # weight of the latest completion in the service interval


@dataclass(order=True, frozen=True)
class _Waiter:
    priority: float
    number: int  # among equals, first come, first served
    memory: int = field(compare=False)
    granted: asyncio.Future[None] = field(compare=False)


class Admission:
    """Rejects requests that would exceed a limit early, and never queues without bound.

    Attributes:
        requests: requests in flight, those that wait for memory or a thread included. Requests
            whose body is still arriving are not counted, so that slow clients occupy no slot.
        reserved: bytes of memory that are reserved.
        closed: whether the service shuts down; no further request is admitted.
    """

    def __init__(self, policy: AdmissionPolicy) -> None:
        self._policy = policy
        self._waiting: list[_Waiter] = []  # a heap
        self._numbers = count()
        self._service_interval = 0.0  # seconds between completions under load, smoothed
        self._last_completion = 0.0
        self._idle = asyncio.Event()
        self._idle.set()
        self.requests = 0
        self.reserved = 0
        self.closed = False

    @property
    def capacity(self) -> int:
        """The maximum number of requests in flight."""
        return self._policy.max_requests

    @property
    def memory_bytes(self) -> int:
        """The maximum number of bytes that requests may reserve together."""
        return self._policy.memory_bytes

    @property
    def deadline(self) -> float | None:
        """Seconds that a request may take after its body has arrived, or None."""
        return self._policy.deadline

    @property
    def waiting(self) -> int:
        """The number of requests that wait for memory."""
        return len(self._waiting)

    @property
    def retry_after(self) -> int:
        """Seconds until the requests in flight are completed, at the present rate."""
        return max(1, math.ceil(self.requests * self._service_interval))

    def acquire(self) -> Permit:
        """Issue a permit to a request whose head has arrived, so that its body may be read.

        It takes no slot before the body has arrived: see `enter`.

        Raises:
            Overloaded: as many requests as allowed are in flight; it holds when to retry.
            Draining: the service shuts down.
        """
        self._check()
        return Permit(self, self._policy.deadline)

    async def close(self) -> None:
        """Admit no further request, and wait until none is in flight."""
        self.closed = True
        await self._idle.wait()

    def enter(self) -> None:
        """Count a request as in flight, now that its body has arrived; for `Permit`.

        Raises:
            Overloaded: while its body arrived, the last slot was taken.
            Draining: while its body arrived, the service began to shut down.
        """
        self._check()
        self.requests += 1
        self._idle.clear()

    def leave(self, entered: float) -> None:
        """Count a request as completed, which entered at `entered` (monotonic seconds)."""
        self.requests -= 1
        if not self.requests:
            self._idle.set()
        now = monotonic()
        seconds = now - max(entered, self._last_completion)  # idle time is not part of the rate
        self._service_interval += (SMOOTHING if self._service_interval else 1.0) * (
            seconds - self._service_interval
        )
        self._last_completion = now

    async def reserve(self, memory: int, priority: float) -> None:
        """Wait for bytes of memory, in the order of priorities; for `Permit`.

        Raises:
            TooMuchMemory: more than all of the memory would be needed.
        """
        if memory > self._policy.memory_bytes:
            raise TooMuchMemory(
                f"The request needs {memory} bytes of memory; {self._policy.memory_bytes} are "
                "allowed.",
                max_bytes=self._policy.memory_bytes,
            )
        if not self._waiting and self._fits(memory):
            self.reserved += memory
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._waiting, _Waiter(priority, next(self._numbers), memory, granted))
        self._wake()  # its priority may be above that of waiters which do not fit
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():  # both happened in the same iteration
                self.reserved -= memory
            self._wake()
            raise

    def release(self, memory: int) -> None:
        """Give memory back; for `Permit`."""
        self.reserved -= memory
        self._wake()

    @contextmanager
    def hold(self, memory: int) -> Iterator[None]:
        """Account for memory that is in use already, such as a response, in the context."""
        self.reserved += memory
        try:
            yield
        finally:
            self.release(memory)

    def _check(self) -> None:
        if self.closed:
            raise Draining("The server is shutting down; another replica can respond.", retry=1)
        if self.requests >= self._policy.max_requests:
            detail = f"{self.requests} requests are in flight, which is the limit."
            raise Overloaded(detail, retry=self.retry_after)

    def _wake(self) -> None:
        while self._waiting:
            waiter = self._waiting[0]
            if not waiter.granted.done():
                if not self._fits(waiter.memory):
                    return
                self.reserved += waiter.memory
                waiter.granted.set_result(None)
            heappop(self._waiting)

    def _fits(self, memory: int) -> bool:
        return self.reserved + memory <= self._policy.memory_bytes
