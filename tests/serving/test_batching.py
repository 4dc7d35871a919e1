"""The batcher: every item ends exactly once, whatever happens to its neighbours."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.policies import BatchPolicy
from app.serving.batching import Batcher, BatcherStoppedError

pytestmark = pytest.mark.anyio


class Press:
    """A device that presses one batch at a time, when it is let to; 13 is poison to it."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.started = asyncio.Event()
        self.let = asyncio.Event()
        self.let.set()

    async def run(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.started.set()
        await self.let.wait()
        if 13 in items:
            raise ValueError("poisoned")
        return [item * 10 for item in items]

    def hold(self) -> None:
        self.let.clear()
        self.started.clear()


async def submitted(batcher: Batcher[int, int], *items: int) -> list[asyncio.Task[int]]:
    """The items, on their way and waiting."""
    tasks = [asyncio.create_task(batcher.submit(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


async def held(batcher: Batcher[int, int], press: Press) -> asyncio.Task[int]:
    """A first item, with which the press is busy until it is let."""
    press.hold()
    (task,) = await submitted(batcher, 1)
    await press.started.wait()
    return task


async def test_an_idle_device_starts_at_once() -> None:
    """A lone item is not kept waiting for company."""
    press = Press()
    async with Batcher(press.run, BatchPolicy(max_size=8)) as batcher:
        assert await batcher.submit(4) == 40
    assert press.batches == [[4]]


async def test_batches_grow_while_the_device_is_busy() -> None:
    """What waits while a batch runs is the next batch, up to the largest size, in order."""
    press = Press()
    async with Batcher(press.run, BatchPolicy(max_size=4)) as batcher:
        first = await held(batcher, press)
        rest = await submitted(batcher, 2, 3, 4, 5, 6)
        assert batcher.depth == 5
        press.let.set()
        assert await asyncio.gather(first, *rest) == [10, 20, 30, 40, 50, 60]
    assert press.batches == [[1], [2, 3, 4, 5], [6]]
    assert batcher.sizes == {1: 2, 4: 1}


async def test_a_wait_fills_the_batch() -> None:
    """With max_wait an idle device waits for company, but not once the batch is full."""
    press = Press()
    async with Batcher(press.run, BatchPolicy(max_size=2, max_wait=1.0)) as batcher:
        first = asyncio.create_task(batcher.submit(1))
        await asyncio.sleep(0.01)
        assert await asyncio.gather(first, batcher.submit(2)) == [10, 20]
    assert press.batches == [[1, 2]]


async def test_a_wait_ends() -> None:
    """After max_wait a batch runs though it is not full."""
    press = Press()
    async with Batcher(press.run, BatchPolicy(max_size=2, max_wait=0.01)) as batcher:
        assert await batcher.submit(1) == 10


async def test_the_departed_are_dropped() -> None:
    """An item whose submitter left never reaches the device; its neighbours are answered."""
    press = Press()
    async with Batcher(press.run, BatchPolicy(max_size=8)) as batcher:
        first = await held(batcher, press)
        stays, leaves = await submitted(batcher, 2, 3)
        leaves.cancel()
        press.let.set()
        assert await asyncio.gather(first, stays) == [10, 20]
    assert press.batches == [[1], [2]]


async def test_departing_while_the_batch_runs_hurts_nobody() -> None:
    """A submitter that leaves in mid-batch does not take its neighbours along."""
    press = Press()
    async with Batcher(press.run, BatchPolicy(max_size=8)) as batcher:
        first = await held(batcher, press)
        press.started.clear()
        leaves, stays = await submitted(batcher, 2, 3)
        press.let.set()
        await first
        press.hold()
        leaves.cancel()
        press.let.set()
        assert await stays == 30
        assert await batcher.submit(4) == 40


async def test_a_poisoned_item_fails_alone() -> None:
    """When a batch fails its items are run one by one: only the culprit sees the error."""
    press = Press()
    async with Batcher(press.run, BatchPolicy(max_size=8)) as batcher:
        first = await held(batcher, press)
        before, poisoned, after = await submitted(batcher, 2, 13, 3)
        press.let.set()
        assert await asyncio.gather(first, before, after) == [10, 20, 30]
        with pytest.raises(ValueError, match="poisoned"):
            await poisoned
        assert batcher.alive
        assert batcher.failures == 2  # the batch, and the culprit alone


async def test_a_stopped_loop_leaves_nobody_waiting() -> None:
    """Stopping ends what runs and what waits, and nothing is taken any more."""
    press = Press()
    async with Batcher(press.run, BatchPolicy(max_size=1)) as batcher:
        running = await held(batcher, press)
        (waiting,) = await submitted(batcher, 2)
    for task in (running, waiting):
        with pytest.raises(BatcherStoppedError):
            await task
    with pytest.raises(BatcherStoppedError):
        await batcher.submit(3)
    assert not batcher.alive


async def test_too_few_answers_are_an_error() -> None:
    """A run that answers less than it was asked fails its items instead of leaving one open."""

    async def forgetful(items: Sequence[int]) -> list[int]:
        return [item for item in items if item != 2]

    async with Batcher(forgetful, BatchPolicy(max_size=8)) as batcher:
        answers = await asyncio.gather(
            *(batcher.submit(item) for item in (1, 2, 3)), return_exceptions=True
        )
    assert answers[0] == 1
    assert isinstance(answers[1], ValueError)
    assert answers[2] == 3


@settings(max_examples=60, deadline=None)
@given(
    items=st.lists(st.tuples(st.integers(1, 20), st.integers(0, 3)), max_size=30),
    max_size=st.integers(1, 5),
)
def test_every_item_ends_exactly_once(items: list[tuple[int, int]], max_size: int) -> None:
    """Whoever leaves and whatever is poisoned: an answer, its own error, or its own leaving."""

    async def scenario() -> None:
        press = Press()
        async with Batcher(press.run, BatchPolicy(max_size=max_size)) as batcher:
            tasks = []
            for item, patience in items:
                (task,) = await submitted(batcher, item)
                tasks.append(task)
                if patience == 0:
                    task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert batcher.depth == 0
        for (item, patience), result in zip(items, results, strict=True):
            if isinstance(result, asyncio.CancelledError):
                assert patience == 0
            elif item == 13:
                assert isinstance(result, ValueError)
            else:
                assert result == item * 10

    asyncio.run(scenario())
