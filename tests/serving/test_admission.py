"""The one door: refuses early, never queues without bound, and forgets nobody."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from app.errors import Draining, Overloaded
from app.policies import AdmissionPolicy
from app.serving.admission import Admission

pytestmark = pytest.mark.anyio


def door(requests: int = 2, pixels: int = 100) -> Admission:
    """A small house."""
    return Admission(AdmissionPolicy(max_requests=requests, pixel_budget=pixels))


async def holding(
    admission: Admission, pixels: int, turn: float = 0.0
) -> tuple[asyncio.Task[None], asyncio.Event]:
    """A photograph in the house, or waiting to be let in, until the event is set."""
    leave = asyncio.Event()

    async def hold() -> None:
        async with admission.pixels(pixels, turn):
            await leave.wait()

    task = asyncio.create_task(hold())
    await asyncio.sleep(0)
    return task, leave


def test_one_more_than_the_limit_is_refused() -> None:
    """The third of two requests is told to come back, and is let in once one has left."""
    admission = door(requests=2)
    with ExitStack() as stack:
        stack.enter_context(admission.request())
        with admission.request():
            with pytest.raises(Overloaded) as refusal, admission.request():
                pass
            assert refusal.value.extra["retry"] >= 1
            assert admission.requests == 2
        stack.enter_context(admission.request())
    assert admission.requests == 0


def test_refusals_promise_what_the_pace_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is refused is told to come back when those in the house are through, at their pace."""
    clock = [0.0]
    monkeypatch.setattr("app.serving.admission.monotonic", lambda: clock[0])
    admission = door(requests=20)
    crowd = [admission.request() for _ in range(60)]
    for place, request in enumerate(crowd):  # half a second each, twenty at a time
        if place >= 20:
            clock[0] += 0.5
            crowd[place - 20].__exit__(None, None, None)
        request.__enter__()
    assert admission.retry_after == 10
    for request in crowd[40:]:
        request.__exit__(None, None, None)
    clock[0] += 1000  # nobody is there, which is no pace
    with admission.request():
        clock[0] += 0.5
    with admission.request():
        assert admission.retry_after == 1


def test_a_closed_door_stays_closed() -> None:
    """Once the server leaves, nobody is let in."""
    admission = door()
    admission.closed = True
    with pytest.raises(Draining), admission.request():
        pass


async def test_photographs_wait_for_their_share_in_order() -> None:
    """A photograph that does not fit waits, and smaller ones behind it do not overtake it."""
    admission = door(pixels=100)
    _, first_leaves = await holding(admission, 70)
    large, large_leaves = await holding(admission, 60)
    small, small_leaves = await holding(admission, 30)
    assert (admission.pixels_in_flight, admission.waiting) == (70, 2)
    first_leaves.set()
    await asyncio.sleep(0.01)
    assert (admission.pixels_in_flight, admission.waiting) == (90, 0)
    large_leaves.set()
    small_leaves.set()
    await asyncio.gather(large, small)
    assert admission.pixels_in_flight == 0


async def test_an_earlier_turn_goes_first() -> None:
    """A small photograph that comes soon after a large one does not wait behind it."""
    admission = door(pixels=100)
    first, first_leaves = await holding(admission, 70)
    large, large_leaves = await holding(admission, 60, turn=2.0)
    small, small_leaves = await holding(admission, 30, turn=1.0)
    assert (admission.pixels_in_flight, admission.waiting) == (100, 1)
    first_leaves.set()
    await first
    assert (admission.pixels_in_flight, admission.waiting) == (90, 0)
    large_leaves.set()
    small_leaves.set()
    await asyncio.gather(large, small)
    assert admission.pixels_in_flight == 0


async def test_who_gives_up_waiting_holds_up_nobody() -> None:
    """A cancelled waiter leaves the queue, and what is behind it moves up."""
    admission = door(pixels=100)
    _, first_leaves = await holding(admission, 70)
    impatient, _ = await holding(admission, 90)
    patient, patient_leaves = await holding(admission, 30)
    impatient.cancel()
    await asyncio.sleep(0.01)
    assert (admission.pixels_in_flight, admission.waiting) == (100, 0)
    first_leaves.set()
    patient_leaves.set()
    await patient
    assert admission.pixels_in_flight == 0


async def test_cancelled_in_the_moment_of_the_turn() -> None:
    """A share that is given to somebody who leaves in the same moment comes back."""
    admission = door(pixels=100)
    first, first_leaves = await holding(admission, 100)
    second, _ = await holding(admission, 100)
    first_leaves.set()
    await first
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert (admission.pixels_in_flight, admission.waiting) == (0, 0)


async def test_a_giant_is_let_in_alone() -> None:
    """A photograph over the whole budget waits for an empty house instead of for ever."""
    admission = door(pixels=100)
    giant, leaves = await holding(admission, 500)
    assert admission.pixels_in_flight == 500
    leaves.set()
    await giant
