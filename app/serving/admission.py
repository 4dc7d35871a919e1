"""Admission control: limits the requests in flight and their decoded pixels."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from time import monotonic

from app.errors import Draining, Overloaded
from app.policies import AdmissionPolicy
from app.serving.permit import Permit

SMOOTHING = 0.1  # weight of the latest completion in the service interval


@dataclass(order=True, frozen=True)
class _Waiter:
    priority: float
    number: int  # among equals, first come, first served
    pixels: int = field(compare=False)
    granted: asyncio.Future[None] = field(compare=False)


class Admission:
    """Rejects early what would exceed a limit, and never queues without bound.

    Attributes:
        requests: requests in flight, those that wait for memory or a thread included. Requests
            whose body is still arriving are not counted, so that slow clients take no place.
        pixels_in_flight: decoded pixels that are reserved.
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
        self.pixels_in_flight = 0
        self.closed = False

    @property
    def capacity(self) -> int:
        """The maximum number of requests in flight."""
        return self._policy.max_requests

    @property
    def pixel_budget(self) -> int:
        """The maximum number of decoded pixels in flight."""
        return self._policy.pixel_budget

    @property
    def deadline(self) -> float | None:
        """Seconds that a request may take after its body has arrived, or None."""
        return self._policy.deadline

    @property
    def waiting(self) -> int:
        """The number of requests that wait for their share of the pixel budget."""
        return len(self._waiting)

    @property
    def retry_after(self) -> int:
        """Seconds until the requests in flight are completed, at the present rate."""
        return max(1, math.ceil(self.requests * self._service_interval))

    def acquire(self) -> Permit:
        """Admit a request whose head has arrived; the one decision about it.

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
        """Count a request as in flight; for `Permit`.

        Raises:
            Overloaded: while its body arrived, the last place was taken.
        """
        if self.requests >= self._policy.max_requests:
            raise self._overloaded()
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

    async def reserve(self, pixels: int, priority: float) -> None:
        """Wait for a share of the pixel budget, in the order of priorities; for `Permit`."""
        if not self._waiting and self._fits(pixels):
            self.pixels_in_flight += pixels
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._waiting, _Waiter(priority, next(self._numbers), pixels, granted))
        self._wake()  # its priority may be above that of waiters which do not fit
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():  # both happened in the same iteration
                self.pixels_in_flight -= pixels
            self._wake()
            raise

    def release(self, pixels: int) -> None:
        """Give a share back; for `Permit`."""
        self.pixels_in_flight -= pixels
        self._wake()

    def _check(self) -> None:
        if self.closed:
            raise Draining("The server is shutting down; another replica can respond.", retry=1)
        if self.requests >= self._policy.max_requests:
            raise self._overloaded()

    def _overloaded(self) -> Overloaded:
        return Overloaded(
            f"{self.requests} requests are in flight, which is the limit.", retry=self.retry_after
        )

    def _wake(self) -> None:
        while self._waiting:
            waiter = self._waiting[0]
            if not waiter.granted.done():
                if not self._fits(waiter.pixels):
                    return
                self.pixels_in_flight += waiter.pixels
                waiter.granted.set_result(None)
            heappop(self._waiting)

    def _fits(self, pixels: int) -> bool:
        """Return whether a share is free; a request without others beside it always fits."""
        free = self._policy.pixel_budget - self.pixels_in_flight
        return pixels <= free or self.pixels_in_flight == 0
