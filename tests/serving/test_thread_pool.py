"""Threads for pixels: whose turn it is, who helps whom, and who may leave."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from app.serving.thread_pool import NICENESS, PriorityThreadPool, priority_of

pytestmark = pytest.mark.anyio

MEGAPIXEL = 1_000_000


@pytest.fixture
async def one(anyio_backend: str) -> AsyncIterator[PriorityThreadPool]:
    """A single worker."""
    async with PriorityThreadPool(1) as workers:
        yield workers


@pytest.fixture
async def two(anyio_backend: str) -> AsyncIterator[PriorityThreadPool]:
    """Two workers."""
    async with PriorityThreadPool(2) as workers:
        yield workers


async def occupied(workers: PriorityThreadPool) -> tuple[asyncio.Task[bool], threading.Event]:
    """A call that keeps a worker until the event is set."""
    begun, leave = threading.Event(), threading.Event()

    def stay() -> bool:
        begun.set()
        return leave.wait(60)

    task = asyncio.create_task(workers.run(0.0, stay))
    assert await asyncio.to_thread(begun.wait, 60)
    return task, leave


def raises() -> None:
    """A call that fails."""
    raise ValueError("no such thing")


async def test_a_call_is_answered(one: PriorityThreadPool) -> None:
    """A call gives its result, or raises what it raised."""
    assert await one.run(0.0, divmod, 7, 2) == (3, 1)
    with pytest.raises(ValueError, match="no such thing"):
        await one.run(0.0, raises)


async def test_workers_give_way_to_the_event_loop(one: PriorityThreadPool) -> None:
    """Where threads have priorities of their own, theirs is lower."""
    lower = NICENESS if sys.platform == "linux" else 0
    assert await one.run(0.0, os.nice, 0) == min(19, os.nice(0) + lower)


async def test_the_earliest_turn_goes_first(one: PriorityThreadPool) -> None:
    """Those who wait go by their turns, and equals by their arrival."""
    order: list[str] = []
    first, leave = await occupied(one)
    turns = {"late": 3.0, "early": 1.0, "between": 2.0, "between too": 2.0}
    waiting = [asyncio.create_task(one.run(turn, order.append, it)) for it, turn in turns.items()]
    await asyncio.sleep(0)
    leave.set()
    await asyncio.gather(first, *waiting)
    assert order == ["early", "between", "between too", "late"]


def test_a_small_photograph_overtakes_for_a_while() -> None:
    """A megapixel goes before 24 that came a second earlier, but not before last minute's."""
    assert priority_of(11.0, MEGAPIXEL) < priority_of(10.0, 24 * MEGAPIXEL)
    assert priority_of(70.0, MEGAPIXEL) > priority_of(10.0, 24 * MEGAPIXEL)


async def test_who_gives_up_before_the_turn_is_dropped(one: PriorityThreadPool) -> None:
    """A call that has not begun is never run once its caller has gone."""
    ran: list[int] = []
    first, leave = await occupied(one)
    second = asyncio.create_task(one.run(0.0, ran.append, 2))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    leave.set()
    assert await first
    await one.run(1.0, ran.append, 3)
    assert ran == [3]


async def test_who_gives_up_meanwhile_is_held(one: PriorityThreadPool) -> None:
    """A caller that leaves is held until its call has ended: what it admitted is in memory."""
    task, leave = await occupied(one)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=0.05)
    assert not done
    leave.set()
    with pytest.raises(asyncio.CancelledError):
        await task


def meeting(parties: int) -> Callable[[int], None]:
    """A function that returns only once so many threads are in it."""
    barrier = threading.Barrier(parties, timeout=60)
    return lambda _: void(barrier.wait())


def void(_: object) -> None:
    """Drops a value."""


async def test_an_idle_worker_shares_the_work(two: PriorityThreadPool) -> None:
    """Two parts are done at the same time where there are two workers."""
    await two.run(0.0, two.parallel_map, 0.0, meeting(2), [1, 2])


async def test_a_busy_worker_is_not_waited_for(two: PriorityThreadPool) -> None:
    """What nobody else has begun is done by the caller itself, every part once."""
    done: list[int] = []
    busy, leave = await occupied(two)
    await two.run(0.0, two.parallel_map, 0.0, done.append, [1, 2, 3, 4])
    assert done == [1, 2, 3, 4]
    leave.set()
    assert await busy


async def test_a_part_that_fails_fails_the_whole(two: PriorityThreadPool) -> None:
    """The failure of any part reaches the caller, whoever ran it."""
    for bad in range(4):

        def fail_at(part: int, bad: int = bad) -> None:
            if part == bad:
                raise ValueError(part)

        with pytest.raises(ValueError, match=str(bad)):
            await two.run(0.0, two.parallel_map, 0.0, fail_at, [0, 1, 2, 3])


async def test_leaving_runs_what_was_handed_in() -> None:
    """Calls that wait when the workers end are run all the same."""
    async with PriorityThreadPool(1) as workers:
        first, leave = await occupied(workers)
        second = asyncio.create_task(workers.run(5.0, divmod, 9, 4))
        await asyncio.sleep(0)
        leave.set()
    assert await first
    assert await second == (2, 1)
