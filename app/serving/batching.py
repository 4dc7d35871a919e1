"""Dynamic batching on the event loop, without threads, tensors or locks."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Generic, Self, TypeVar

from app.policies import BatchPolicy

T = TypeVar("T")
R = TypeVar("R")

Run = Callable[[Sequence[T]], Awaitable[Sequence[R]]]
_Entry = tuple[T, "asyncio.Future[R]"]


class BatcherStoppedError(RuntimeError):
    """The batcher's loop has ended, and runs nothing any more."""


class Batcher(Generic[T, R]):
    """Collects items that arrive one by one, and runs them together.

    Items that arrive while a batch runs form the next batch, so batches grow with the load and an
    idle device starts at once. Every submitted item ends exactly once: with its result, with its
    own error, or cancelled by its submitter.

    Attributes:
        sizes: the number of batches of each size that have run.
        failures: the number of batches that failed.
    """

    def __init__(self, run: Run[T, R], policy: BatchPolicy) -> None:
        """Set the function that runs a batch: it returns one result per item, in their order."""
        self._run = run
        self._policy = policy
        self._waiting: deque[_Entry[T, R]] = deque()
        self._arrived = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        self.sizes: Counter[int] = Counter()
        self.failures = 0

    async def __aenter__(self) -> Self:
        self._serving = asyncio.create_task(self._serve(), name="batcher")
        self._serving.add_done_callback(self._abandon_waiting)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.wait([self._serving])

    @property
    def alive(self) -> bool:
        """Whether the loop is running."""
        return self._serving is not None and not self._serving.done()

    @property
    def depth(self) -> int:
        """The number of items that wait for the next batch."""
        return len(self._waiting)

    async def submit(self, item: T) -> R:
        """Run an item in the next batch.

        Raises:
            BatcherStoppedError: the loop has ended.
            Exception: whatever `run` raised for this item.
        """
        if not self.alive:
            raise BatcherStoppedError
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._arrived.set()
        return await future

    async def _serve(self) -> None:
        while True:
            await self._arrived.wait()
            if self._policy.max_wait:
                await self._fill()
            batch = self._take()
            try:
                await self._run_batch(batch)
            finally:
                _end_all(batch)  # there are some only when the loop is being stopped

    async def _fill(self) -> None:
        """Wait for a full batch, for as long as the policy allows."""
        try:
            async with asyncio.timeout(self._policy.max_wait):
                while len(self._waiting) < self._policy.max_size:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            pass

    def _take(self) -> list[_Entry[T, R]]:
        """Take the next batch, without items that were cancelled."""
        batch: list[_Entry[T, R]] = []
        while self._waiting and len(batch) < self._policy.max_size:
            entry = self._waiting.popleft()
            if not entry[1].done():
                batch.append(entry)
        if not self._waiting:
            self._arrived.clear()
        return batch

    async def _run_batch(self, batch: list[_Entry[T, R]]) -> None:
        """Run a batch; if it fails, run its items alone, so that only the faulty ones fail."""
        batch = [entry for entry in batch if not entry[1].done()]
        if not batch:
            return
        self.sizes[len(batch)] += 1
        try:
            results = await self._run([item for item, _ in batch])
            pairs = list(zip(batch, results, strict=True))
        except Exception as error:  # of any kind: it belongs to the submitters
            self.failures += 1
            if len(batch) == 1:
                _end(batch[0], error)
                return
            for entry in batch:
                await self._run_batch([entry])
            return
        for (_, future), result in pairs:
            if not future.done():
                future.set_result(result)

    def _abandon_waiting(self, _: asyncio.Task[None]) -> None:
        _end_all(self._waiting)
        self._waiting.clear()


def _end(entry: _Entry[T, R], error: Exception) -> None:
    if not entry[1].done():
        entry[1].set_exception(error)


def _end_all(entries: Iterable[_Entry[T, R]]) -> None:
    for entry in entries:
        _end(entry, BatcherStoppedError())
