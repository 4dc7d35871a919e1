"""The batcher: every item ends exactly once, whatever happens to its neighbours."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.policies import BatchPolicy
from app.serving.batching import Batcher, BatcherStoppedError
from tests.helpers.waiting import until

pytestmark = pytest.mark.anyio


class SlowDevice:
    """A device that runs one batch at a time, when it is allowed to; the item 13 makes it fail."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.started = asyncio.Event()
        self.allowed = asyncio.Event()
        self.allowed.set()

    async def run(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.started.set()
        await self.allowed.wait()
        if 13 in items:
            raise ValueError("faulty")
        return [item * 10 for item in items]

    def hold(self) -> None:
        self.allowed.clear()
        self.started.clear()


async def submit(batcher: Batcher[int, int], *items: int) -> list[asyncio.Task[int]]:
    """Submit items, which then wait."""
    tasks = [asyncio.create_task(batcher.submit(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


async def occupy(batcher: Batcher[int, int], device: SlowDevice) -> asyncio.Task[int]:
    """Submit a first item, which the device runs until it is allowed to finish."""
    device.hold()
    (task,) = await submit(batcher, 1)
    await device.started.wait()
    return task


async def test_an_idle_device_starts_at_once() -> None:
    """A lone item does not wait for others."""
    device = SlowDevice()
    async with Batcher(device.run, BatchPolicy(max_size=8)) as batcher:
        assert await batcher.submit(4) == 40
    assert device.batches == [[4]]


async def test_batches_grow_while_the_device_is_busy() -> None:
    """Items that wait while a batch runs form the next one, up to the maximum size, in order."""
    device = SlowDevice()
    async with Batcher(device.run, BatchPolicy(max_size=4)) as batcher:
        first = await occupy(batcher, device)
        rest = await submit(batcher, 2, 3, 4, 5, 6)
        assert batcher.depth == 5
        device.allowed.set()
        assert await asyncio.gather(first, *rest) == [10, 20, 30, 40, 50, 60]
    assert device.batches == [[1], [2, 3, 4, 5], [6]]
    assert batcher.sizes == {1: 2, 4: 1}


async def test_a_wait_fills_the_batch() -> None:
    """With max_wait an idle device waits for more items, but not once the batch is full."""
    device = SlowDevice()
    async with Batcher(device.run, BatchPolicy(max_size=2, max_wait=1.0)) as batcher:
        first = asyncio.create_task(batcher.submit(1))
        await until(lambda: batcher.depth)
        assert await asyncio.gather(first, batcher.submit(2)) == [10, 20]
    assert device.batches == [[1, 2]]


async def test_the_wait_ends() -> None:
    """After max_wait a batch runs although it is not full."""
    device = SlowDevice()
    async with Batcher(device.run, BatchPolicy(max_size=2, max_wait=0.01)) as batcher:
        assert await batcher.submit(1) == 10


async def test_cancelled_items_are_dropped() -> None:
    """An item that was cancelled never reaches the device; the others are run."""
    device = SlowDevice()
    async with Batcher(device.run, BatchPolicy(max_size=8)) as batcher:
        first = await occupy(batcher, device)
        kept, cancelled = await submit(batcher, 2, 3)
        cancelled.cancel()
        device.allowed.set()
        assert await asyncio.gather(first, kept) == [10, 20]
    assert device.batches == [[1], [2]]


async def test_cancelling_in_a_running_batch_affects_no_other_item() -> None:
    """An item that is cancelled while its batch runs does not cancel the others."""
    device = SlowDevice()
    async with Batcher(device.run, BatchPolicy(max_size=8)) as batcher:
        first = await occupy(batcher, device)
        device.started.clear()
        cancelled, kept = await submit(batcher, 2, 3)
        device.allowed.set()
        await first
        device.hold()
        cancelled.cancel()
        device.allowed.set()
        assert await kept == 30
        assert await batcher.submit(4) == 40


async def test_a_faulty_item_fails_alone() -> None:
    """When a batch fails its items run one by one: only the faulty one gets the error."""
    device = SlowDevice()
    async with Batcher(device.run, BatchPolicy(max_size=8)) as batcher:
        first = await occupy(batcher, device)
        before, faulty, after = await submit(batcher, 2, 13, 3)
        device.allowed.set()
        assert await asyncio.gather(first, before, after) == [10, 20, 30]
        with pytest.raises(ValueError, match="faulty"):
            await faulty
        assert batcher.alive
        assert batcher.failures == 2  # the batch, and the faulty item alone


async def test_stopping_ends_every_item() -> None:
    """Stopping ends items that run or wait, and further items are rejected."""
    device = SlowDevice()
    async with Batcher(device.run, BatchPolicy(max_size=1)) as batcher:
        running = await occupy(batcher, device)
        (waiting,) = await submit(batcher, 2)
    for task in (running, waiting):
        with pytest.raises(BatcherStoppedError):
            await task
    with pytest.raises(BatcherStoppedError):
        await batcher.submit(3)
    assert not batcher.alive


async def test_too_few_results_are_an_error() -> None:
    """A run that returns fewer results than items fails instead of leaving an item open."""

    async def forgetful(items: Sequence[int]) -> list[int]:
        return [item for item in items if item != 2]

    async with Batcher(forgetful, BatchPolicy(max_size=8)) as batcher:
        results = await asyncio.gather(
            *(batcher.submit(item) for item in (1, 2, 3)), return_exceptions=True
        )
    assert results[0] == 1
    assert isinstance(results[1], ValueError)
    assert results[2] == 3


@settings(max_examples=60, deadline=None)
@given(
    items=st.lists(st.tuples(st.integers(1, 20), st.integers(0, 3)), max_size=30),
    max_size=st.integers(1, 5),
)
def test_every_item_ends_exactly_once(items: list[tuple[int, int]], max_size: int) -> None:
    """Whatever is cancelled or faulty: a result, its own error, or its own cancellation."""

    async def scenario() -> None:
        device = SlowDevice()
        async with Batcher(device.run, BatchPolicy(max_size=max_size)) as batcher:
            tasks = []
            for item, patience in items:
                (task,) = await submit(batcher, item)
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
