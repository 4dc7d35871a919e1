"""The one door: how many requests are in the house, and how many decoded pixels."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from time import monotonic

from app.errors import Draining, Overloaded
from app.policies import AdmissionPolicy

SMOOTHING = 0.1  # weight of the latest departure in the pace


@dataclass(order=True, frozen=True)
class _Waiter:
    turn: float
    number: int  # among equals, first come, first served
    pixels: int = field(compare=False)
    given: asyncio.Future[None] = field(compare=False)


class Admission:
    """Counts requests and pixels in and out; refuses early, and never queues without bound."""

    def __init__(self, policy: AdmissionPolicy) -> None:
        self._policy = policy
        self._waiting: list[_Waiter] = []  # a heap
        self._numbers = count()
        self._service_interval = 0.0  # seconds from one departure to the next, on average of late
        self._last_completion = 0.0
        self.requests = 0
        self.pixels_in_flight = 0
        self.closed = False

    @property
    def capacity(self) -> int:
        """The most requests at once."""
        return self._policy.max_requests

    @property
    def pixel_budget(self) -> int:
        """The most decoded pixels at once."""
        return self._policy.pixel_budget

    @property
    def waiting(self) -> int:
        """How many requests wait for their share of the pixel budget."""
        return len(self._waiting)

    def check(self) -> None:
        """Says whether a request would be let in, before more is spent on it.

        Raises:
            Overloaded: the house is full; says when to come back.
            Draining: the door is closed for good.
        """
        if self.closed:
            raise Draining("The server is about to stop; another replica will answer.", retry=1)
        if self.requests >= self._policy.max_requests:
            raise Overloaded(
                f"{self.requests} requests are being answered or waiting, which is the limit.",
                retry=self.retry_after,
            )

    @contextmanager
    def request(self) -> Iterator[None]:
        """Admits one request for as long as the context lasts; raises as `check`."""
        self.check()
        self.requests += 1
        begun = monotonic()
        try:
            yield
        finally:
            self.requests -= 1
            self._record_completion(begun)

    @asynccontextmanager
    async def pixels(self, pixels: int, turn: float) -> AsyncIterator[None]:
        """Holds a share of the pixel budget; those who wait for it go by their turns."""
        await self._acquire(pixels, turn)
        try:
            yield
        finally:
            self.pixels_in_flight -= pixels
            self._wake()

    @property
    def retry_after(self) -> int:
        """Seconds until those who are in the house now are answered, at the pace of late."""
        return max(1, math.ceil(self.requests * self._service_interval))

    def _record_completion(self, begun: float) -> None:
        now = monotonic()
        seconds = now - max(begun, self._last_completion)  # an empty house says nothing
        self._service_interval += (SMOOTHING if self._service_interval else 1.0) * (
            seconds - self._service_interval
        )
        self._last_completion = now

    async def _acquire(self, pixels: int, turn: float) -> None:
        if not self._waiting and self._fits(pixels):
            self.pixels_in_flight += pixels
            return
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._waiting, _Waiter(turn, next(self._numbers), pixels, given))
        self._wake()  # its turn may come before that of those who do not fit
        try:
            await given
        except asyncio.CancelledError:
            if given.done() and not given.cancelled():  # the share was given in the same moment
                self.pixels_in_flight -= pixels
            self._wake()
            raise

    def _wake(self) -> None:
        while self._waiting:
            waiter = self._waiting[0]
            if not waiter.given.done():
                if not self._fits(waiter.pixels):
                    return
                self.pixels_in_flight += waiter.pixels
                waiter.given.set_result(None)
            heappop(self._waiting)

    def _fits(self, pixels: int) -> bool:
        """A photograph that is alone in the house always fits."""
        free = self._policy.pixel_budget - self.pixels_in_flight
        return pixels <= free or self.pixels_in_flight == 0
