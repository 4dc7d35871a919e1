"""Random operations on the batcher, compared with a model of the result of each item."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.policies import BatchPolicy
from app.serving.batching import Batcher, BatcherStoppedError

FAULTY = 13
MAX_SIZE = 3


class Device:
    """A device that runs or fails a batch on command."""

    def __init__(self) -> None:
        self.running: list[int] | None = None
        self._command: asyncio.Future[Exception | None] | None = None

    async def run(self, items: Sequence[int]) -> list[int]:
        """Return ten times each item, or raise."""
        assert self.running is None, "two batches ran at once"
        assert 0 < len(items) <= MAX_SIZE
        self.running = list(items)
        self._command = asyncio.get_running_loop().create_future()
        try:
            error = await self._command
        finally:
            self.running = None
        if error is not None:
            raise error
        if FAULTY in items:
            raise ValueError("faulty")
        return [item * 10 for item in items]

    def end_batch(self, error: Exception | None = None) -> None:
        """End the batch that runs."""
        assert self._command is not None
        self._command.set_result(error)


class BatcherMachine(RuleBasedStateMachine):
    """Items come and are cancelled, batches succeed and fail, the batcher stops at any time."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()
        self._device = Device()
        self._batcher = Batcher[int, int](self._device.run, BatchPolicy(max_size=MAX_SIZE))
        self._loop.run_until_complete(self._batcher.__aenter__())
        self._tasks: list[tuple[int, asyncio.Task[int]]] = []
        self._failures = 0

    def _settle(self) -> None:
        """Run the loop until nothing is scheduled any more."""
        for _ in range(20):
            self._loop.run_until_complete(asyncio.sleep(0))

    @rule(item=st.integers(1, 20))
    def submit(self, item: int) -> None:
        """Submit an item."""
        self._tasks.append((item, self._loop.create_task(self._batcher.submit(item))))
        self._settle()

    @precondition(lambda self: self._tasks)
    @rule(which=st.integers(min_value=0))
    def cancel(self, which: int) -> None:
        """Cancel an item that waits, runs or has ended."""
        self._tasks[which % len(self._tasks)][1].cancel()
        self._settle()

    @precondition(lambda self: self._device.running is not None)
    @rule()
    def succeed(self) -> None:
        """Let the batch succeed."""
        self._device.end_batch()
        self._settle()

    @precondition(lambda self: self._device.running is not None)
    @rule()
    def fail(self) -> None:
        """Let the device fail in the batch."""
        self._failures += 1
        self._device.end_batch(RuntimeError("out of memory"))
        self._settle()

    @rule()
    def stop(self) -> None:
        """Stop the batcher; further items are rejected."""
        self._loop.run_until_complete(self._batcher.__aexit__(None, None, None))
        self._settle()
        assert all(task.done() for _, task in self._tasks)

    @invariant()
    def check_items(self) -> None:
        """Check that ended items have their own result, and that the others wait or run."""
        for item, task in self._tasks:
            if task.done() and not task.cancelled():
                error = task.exception()
                if error is None:
                    assert item != FAULTY
                    assert task.result() == item * 10
                elif isinstance(error, RuntimeError):
                    assert self._failures or isinstance(error, BatcherStoppedError)
                else:
                    assert item == FAULTY
        unfinished = [item for item, task in self._tasks if not task.done()]
        if unfinished:
            assert self._batcher.alive
            assert self._device.running is not None, "an item waits for an idle device"

    def teardown(self) -> None:
        """Let the device finish, and check that every item ends."""
        while self._device.running is not None:
            self._device.end_batch()
            self._settle()
        assert all(task.done() for _, task in self._tasks)
        assert self._batcher.depth == 0
        self._loop.run_until_complete(self._batcher.__aexit__(None, None, None))
        for _, task in self._tasks:
            if not task.cancelled():
                task.exception()
        self._loop.close()


TestBatcher = BatcherMachine.TestCase
TestBatcher.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
