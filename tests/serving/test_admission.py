"""Admission control: rejects early, never queues without bound, and forgets no request."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from app.errors import Draining, Overloaded, TooMuchMemory
from app.policies import AdmissionPolicy
from app.serving.admission import Admission
from app.serving.permit import Permit
from tests.helpers.waiting import until

pytestmark = pytest.mark.anyio


def create(requests: int = 2, memory: int = 100) -> Admission:
    """Create an admission of small limits."""
    return Admission(AdmissionPolicy(max_requests=requests, memory_bytes=memory))


async def reserve(
    admission: Admission, memory: int, priority: float = 0.0
) -> tuple[asyncio.Task[None], asyncio.Event]:
    """Reserve memory, or wait for it, until the event is set."""
    leave = asyncio.Event()

    async def hold() -> None:
        with admission.acquire() as permit:
            await permit.reserve_memory(memory, priority)
            await leave.wait()

    task = asyncio.create_task(hold())
    await asyncio.sleep(0)
    return task, leave


def entered(admission: Admission) -> Permit:
    """Admit a request whose body is there already."""
    permit = admission.acquire()
    permit.enter()
    return permit


def test_one_more_than_the_limit_is_rejected() -> None:
    """The third of two requests has to retry, and is admitted once one has left."""
    admission = create(requests=2)
    with ExitStack() as stack:
        stack.enter_context(entered(admission))
        with entered(admission):
            with pytest.raises(Overloaded) as rejection:
                admission.acquire()
            assert rejection.value.extra["retry"] >= 1
            assert admission.requests == 2
        stack.enter_context(entered(admission))
    assert admission.requests == 0


def test_arriving_bodies_take_no_place() -> None:
    """Slow uploads occupy no slot; the last one to end is rejected at capacity."""
    admission = create(requests=1)
    with admission.acquire() as slow, entered(admission), pytest.raises(Overloaded):
        slow.enter()
    with admission.acquire(), entered(admission):
        assert admission.requests == 1


def test_a_permit_is_held_until_its_last_holder_leaves() -> None:
    """A call that outlives its request keeps the place."""
    admission = create(requests=1)
    permit = entered(admission)
    with permit:
        with permit:
            pass
        assert admission.requests == 1
    assert admission.requests == 0


def test_rejections_promise_what_the_rate_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rejected clients are to retry when the requests in flight are completed, at their rate."""
    clock = [0.0]
    monkeypatch.setattr("app.serving.admission.monotonic", lambda: clock[0])
    monkeypatch.setattr("app.serving.permit.monotonic", lambda: clock[0])
    admission = create(requests=20)
    permits: list[Permit] = []
    for place in range(60):  # half a second each, twenty at a time
        if place >= 20:
            clock[0] += 0.5
            permits[place - 20].__exit__(None, None, None)
        permits.append(entered(admission).__enter__())
    assert admission.retry_after == 10
    for permit in permits[40:]:
        permit.__exit__(None, None, None)
    clock[0] += 1000  # idle time is not part of the rate
    with entered(admission):
        clock[0] += 0.5
    with entered(admission):
        assert admission.retry_after == 1


def test_a_closed_admission_stays_closed() -> None:
    """Once the server shuts down, no request is admitted."""
    admission = create()
    admission.closed = True
    with pytest.raises(Draining):
        admission.acquire()


def test_a_body_that_arrives_after_the_end_is_rejected() -> None:
    """A request whose body still arrives at the shutdown would find the threads gone."""
    admission = create()
    with admission.acquire() as permit:
        admission.closed = True
        with pytest.raises(Draining):
            permit.enter()
    assert admission.requests == 0


async def test_closing_waits_for_the_requests_in_flight() -> None:
    """Closing returns once the last request is completed."""
    admission = create()
    with entered(admission):
        closing = asyncio.create_task(admission.close())
        await until(lambda: admission.closed)
        assert not closing.done()
    await closing


async def test_requests_wait_for_memory_in_order() -> None:
    """A request that does not fit waits, and smaller ones behind it do not overtake it."""
    admission = create(memory=100)
    _, first_leaves = await reserve(admission, 70)
    large, large_leaves = await reserve(admission, 60)
    small, small_leaves = await reserve(admission, 30)
    assert (admission.reserved, admission.waiting) == (70, 2)
    first_leaves.set()
    await until(lambda: not admission.waiting)
    assert admission.reserved == 90
    large_leaves.set()
    small_leaves.set()
    await asyncio.gather(large, small)
    assert admission.reserved == 0


async def test_a_higher_priority_goes_first() -> None:
    """A small image that arrives soon after a large one does not wait behind it."""
    admission = create(memory=100)
    first, first_leaves = await reserve(admission, 70)
    large, large_leaves = await reserve(admission, 60, priority=2.0)
    small, small_leaves = await reserve(admission, 30, priority=1.0)
    assert (admission.reserved, admission.waiting) == (100, 1)
    first_leaves.set()
    await first
    assert (admission.reserved, admission.waiting) == (90, 0)
    large_leaves.set()
    small_leaves.set()
    await asyncio.gather(large, small)
    assert admission.reserved == 0


async def test_a_cancelled_waiter_delays_no_other() -> None:
    """A cancelled waiter leaves the queue, and those behind it move up."""
    admission = create(memory=100)
    _, first_leaves = await reserve(admission, 70)
    cancelled, _ = await reserve(admission, 90)
    kept, kept_leaves = await reserve(admission, 30)
    cancelled.cancel()
    await until(lambda: not admission.waiting)
    assert admission.reserved == 100
    first_leaves.set()
    kept_leaves.set()
    await kept
    assert admission.reserved == 0


async def test_cancelling_in_the_iteration_of_the_grant() -> None:
    """Memory that is granted to a request cancelled in the same iteration is released."""
    admission = create(memory=100)
    first, first_leaves = await reserve(admission, 100)
    second, _ = await reserve(admission, 100)
    first_leaves.set()
    await first
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert (admission.reserved, admission.waiting) == (0, 0)


async def test_a_request_over_the_whole_budget_is_rejected() -> None:
    """It would never fit, so it does not wait."""
    admission = create(memory=100)
    with admission.acquire() as permit:
        with pytest.raises(TooMuchMemory, match="101 bytes of memory; 100 are allowed"):
            await permit.reserve_memory(101, 0.0)
        await permit.reserve_memory(100, 0.0)
        assert admission.reserved == 100
    assert admission.reserved == 0
