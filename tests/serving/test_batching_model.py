"""The batcher's life, played at random against a model of what each item must become."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.policies import BatchPolicy
from app.serving.batching import Batcher, BatcherStoppedError

POISON = 13
LARGEST = 3


class Device:
    """Runs a batch when it is told to, and fails as it is told to."""

    def __init__(self) -> None:
        self.running: list[int] | None = None
        self._told: asyncio.Future[Exception | None] | None = None

    async def run(self, items: Sequence[int]) -> list[int]:
        """Ten times each item, or an error."""
        assert self.running is None, "two batches ran at once"
        assert 0 < len(items) <= LARGEST
        self.running = list(items)
        self._told = asyncio.get_running_loop().create_future()
        try:
            error = await self._told
        finally:
            self.running = None
        if error is not None:
            raise error
        if POISON in items:
            raise ValueError("poisoned")
        return [item * 10 for item in items]

    def tell(self, error: Exception | None = None) -> None:
        """Ends the batch that runs."""
        assert self._told is not None
        self._told.set_result(error)


class Life(RuleBasedStateMachine):
    """Items come and leave, batches succeed and fail, and at any time the batcher may stop."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()
        self._device = Device()
        self._batcher = Batcher[int, int](self._device.run, BatchPolicy(max_size=LARGEST))
        self._loop.run_until_complete(self._batcher.__aenter__())
        self._tasks: list[tuple[int, asyncio.Task[int]]] = []
        self._failures = 0

    def _settle(self) -> None:
        """Lets the loop run until nothing moves any more."""
        for _ in range(20):
            self._loop.run_until_complete(asyncio.sleep(0))

    @rule(item=st.integers(1, 20))
    def submit(self, item: int) -> None:
        """Somebody comes."""
        self._tasks.append((item, self._loop.create_task(self._batcher.submit(item))))
        self._settle()

    @precondition(lambda self: self._tasks)
    @rule(which=st.integers(min_value=0))
    def leave(self, which: int) -> None:
        """Somebody leaves, whether waiting, running or answered."""
        self._tasks[which % len(self._tasks)][1].cancel()
        self._settle()

    @precondition(lambda self: self._device.running is not None)
    @rule()
    def succeed(self) -> None:
        """The batch is run."""
        self._device.tell()
        self._settle()

    @precondition(lambda self: self._device.running is not None)
    @rule()
    def fail(self) -> None:
        """The device fails under the batch."""
        self._failures += 1
        self._device.tell(RuntimeError("out of memory"))
        self._settle()

    @rule()
    def stop(self) -> None:
        """The batcher ends; whoever comes afterwards is told so."""
        self._loop.run_until_complete(self._batcher.__aexit__(None, None, None))
        self._settle()
        assert all(task.done() for _, task in self._tasks)

    @invariant()
    def right(self) -> None:
        """What has ended, ended as it must; what has not, waits or runs."""
        for item, task in self._tasks:
            if task.done() and not task.cancelled():
                error = task.exception()
                if error is None:
                    assert item != POISON
                    assert task.result() == item * 10
                elif isinstance(error, RuntimeError):
                    assert self._failures or isinstance(error, BatcherStoppedError)
                else:
                    assert item == POISON
        unfinished = [item for item, task in self._tasks if not task.done()]
        if unfinished:
            assert self._batcher.alive
            assert self._device.running is not None, "somebody waits for an idle device"

    def teardown(self) -> None:
        """With a device that goes on, everybody gets their end."""
        while self._device.running is not None:
            self._device.tell()
            self._settle()
        assert all(task.done() for _, task in self._tasks)
        assert self._batcher.depth == 0
        self._loop.run_until_complete(self._batcher.__aexit__(None, None, None))
        for _, task in self._tasks:
            if not task.cancelled():
                task.exception()
        self._loop.close()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
