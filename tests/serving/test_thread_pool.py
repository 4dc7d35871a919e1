"""The thread pool: priorities, parallel work and cancellation."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from time import monotonic
from typing import Any

import numpy as np
import pytest

from app.policies import NICENESS
from app.serving.thread_pool import (
    LONG,
    BriefPriority,
    PriorityThreadPool,
    priority_of,
)

pytestmark = pytest.mark.anyio

MEGAPIXEL = 1_000_000


@pytest.fixture
async def one(anyio_backend: str) -> AsyncIterator[PriorityThreadPool]:
    """Run a pool of one thread."""
    async with PriorityThreadPool(1) as workers:
        yield workers


@pytest.fixture
async def two(anyio_backend: str) -> AsyncIterator[PriorityThreadPool]:
    """Run a pool of two threads."""
    async with PriorityThreadPool(2) as workers:
        yield workers


async def run(
    workers: PriorityThreadPool, priority: float, function: Callable[..., Any], *args: object
) -> Any:
    """Run a function on a thread and wait for it."""
    return await asyncio.wrap_future(workers.submit(priority, function, *args))


async def occupy(workers: PriorityThreadPool) -> tuple[Future[bool], threading.Event]:
    """Submit a call that occupies a thread until the event is set."""
    begun, leave = threading.Event(), threading.Event()

    def stay() -> bool:
        begun.set()
        return leave.wait(60)

    call = workers.submit(0.0, stay)
    assert await asyncio.to_thread(begun.wait, 60)
    return call, leave


def fail() -> None:
    """Raise an error."""
    raise ValueError("no such thing")


async def test_a_call_is_answered(one: PriorityThreadPool) -> None:
    """The future of a call holds its result or its exception."""
    assert await run(one, 0.0, divmod, 7, 2) == (3, 1)
    with pytest.raises(ValueError, match="no such thing"):
        await run(one, 0.0, fail)


async def test_workers_give_way_to_the_event_loop(one: PriorityThreadPool) -> None:
    """Where threads have a niceness of their own, that of the pool is lower."""
    lower = NICENESS if sys.platform == "linux" else 0
    assert await run(one, 0.0, os.nice, 0) == min(19, os.nice(0) + lower)


async def test_the_earliest_turn_goes_first(one: PriorityThreadPool) -> None:
    """Waiting calls run by priority, and equals in the order of submission."""
    order: list[str] = []
    first, leave = await occupy(one)
    priorities = {"late": 3.0, "early": 1.0, "between": 2.0, "between too": 2.0}
    waiting = [one.submit(priority, order.append, it) for it, priority in priorities.items()]
    leave.set()
    await asyncio.gather(*map(asyncio.wrap_future, (first, *waiting)))
    assert order == ["early", "between", "between too", "late"]


def test_a_small_photograph_overtakes_for_a_while() -> None:
    """A megapixel goes before 24 that came a second earlier, but not before last minute's."""
    assert priority_of(11.0, MEGAPIXEL) < priority_of(10.0, 24 * MEGAPIXEL)
    assert priority_of(70.0, MEGAPIXEL) > priority_of(10.0, 24 * MEGAPIXEL)


async def test_a_brief_call_does_not_wait_for_long_ones(two: PriorityThreadPool) -> None:
    """One at a time runs beside them, the earliest first; other calls wait for a thread."""
    (first, leave), (second, leave_too) = await occupy(two), await occupy(two)
    order: list[str] = []
    waiting = two.submit(0.0, order.append, "long")
    brief = [two.submit(BriefPriority(at), order.append, str(at)) for at in (2.0, 1.0, 3.0)]
    begun = monotonic()
    await asyncio.wait_for(asyncio.gather(*map(asyncio.wrap_future, brief)), 60)
    assert order == ["1.0", "2.0", "3.0"]
    assert monotonic() - begun > 0.5 * LONG
    assert not waiting.done()
    leave.set()
    leave_too.set()
    await asyncio.gather(*map(asyncio.wrap_future, (first, second, waiting)))
    assert order[-1] == "long"


def test_the_priority_of_a_brief_call_is_that_of_others() -> None:
    """It counts beside it that the call is brief."""
    brief = priority_of(10.0, MEGAPIXEL, brief=True)
    assert brief == priority_of(10.0, MEGAPIXEL)
    assert isinstance(brief, BriefPriority)
    assert not isinstance(priority_of(10.0, MEGAPIXEL), BriefPriority)


async def test_a_call_that_is_cancelled_before_its_turn_is_dropped(
    one: PriorityThreadPool,
) -> None:
    """It is never run, and its arguments are freed at once."""
    first, leave = await occupy(one)
    image = np.zeros(3)
    freed = weakref.ref(image)
    second = one.submit(0.0, image.sum)
    del image
    assert freed() is not None
    assert second.cancel()
    assert freed() is None
    leave.set()
    assert await asyncio.wrap_future(first)
    assert await run(one, 1.0, divmod, 7, 2) == (3, 1)


async def test_a_result_is_freed_with_its_future(one: PriorityThreadPool) -> None:
    """A thread that waits for its next call holds nothing of the last one."""
    result = await run(one, 0.0, np.zeros, 3)
    freed = weakref.ref(result)
    del result
    await run(one, 0.0, divmod, 7, 2)
    assert freed() is None


def meeting(parties: int) -> Callable[[int], None]:
    """Return a function that returns once so many threads are in it."""
    barrier = threading.Barrier(parties, timeout=60)
    return lambda _: ignore(barrier.wait())


def ignore(_: object) -> None:
    """Ignore a value."""


async def test_an_idle_worker_shares_the_work(two: PriorityThreadPool) -> None:
    """Two parts run at the same time where there are two threads."""
    await run(two, 0.0, two.parallel_map, 0.0, meeting(2), [1, 2])


async def test_a_busy_worker_is_not_waited_for(two: PriorityThreadPool) -> None:
    """Parts that no other thread has begun run on the calling thread, each once."""
    done: list[int] = []
    busy, leave = await occupy(two)
    await run(two, 0.0, two.parallel_map, 0.0, done.append, [1, 2, 3, 4])
    assert done == [1, 2, 3, 4]
    leave.set()
    assert await asyncio.wrap_future(busy)


async def test_a_part_that_fails_fails_the_whole(two: PriorityThreadPool) -> None:
    """The exception of any part reaches the caller, whichever thread ran it."""
    for bad in range(4):

        def fail_at(part: int, bad: int = bad) -> None:
            if part == bad:
                raise ValueError(part)

        with pytest.raises(ValueError, match=str(bad)):
            await run(two, 0.0, two.parallel_map, 0.0, fail_at, [0, 1, 2, 3])


async def test_leaving_runs_what_was_handed_in() -> None:
    """Calls that wait when the pool ends are still run."""
    async with PriorityThreadPool(1) as workers:
        first, leave = await occupy(workers)
        second = workers.submit(5.0, divmod, 9, 4)
        leave.set()
    assert first.result()
    assert second.result() == (2, 1)
