"""The permit of one admitted request: its slot, its memory, its deadline and its progress."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from time import monotonic, perf_counter, time_ns
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar

from app.errors import DeadlineExceeded
from app.serving.results import StageTime, Timings
from app.serving.thread_pool import PriorityThreadPool

if TYPE_CHECKING:
    from types import TracebackType

    from app.serving.admission import Admission

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Permit:
    """The slot, memory and deadline of an admitted request, until nothing works on it any more.

    A context manager. It has several holders: the handler of the request, and each call for it
    that runs on a thread, which may outlive the handler of a cancelled request. The slot and the
    memory are given back when the last holder leaves.

    Attributes:
        stage: where the request is: "receive", "queue", or one of `STAGES`.
        stages: the stages that have ended.
        cancelled: whether nothing waits for the result any more; ends work on threads.
    """

    def __init__(self, admission: Admission, deadline: float | None) -> None:
        self._admission = admission
        self._deadline = deadline  # seconds
        self._entered = monotonic()
        self._holders = 0
        self._resources = ExitStack()
        self._memory = 0
        self.stage = "receive"
        self.stages: list[StageTime] = []
        self.cancelled = False

    def __enter__(self) -> Self:
        self._holders += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._holders -= 1
        if not self._holders:
            self.release_memory()
            self._resources.close()

    def enter(self) -> None:
        """Take a slot among the requests in flight: the body has arrived, the deadline begins.

        Raises:
            Overloaded: while the body arrived, the last slot was taken.
        """
        self._admission.enter()
        self._entered = monotonic()
        self._resources.callback(self._admission.leave, self._entered)
        self.stage = "queue"

    @property
    def expires_at(self) -> float | None:
        """The deadline on the clock of `time.monotonic`, which is the event loop's; or None."""
        return None if self._deadline is None else self._entered + self._deadline

    @asynccontextmanager
    async def within_deadline(self) -> AsyncIterator[None]:
        """Cancel the context at the deadline.

        Raises:
            DeadlineExceeded: the deadline has passed.
        """
        try:
            with self:
                async with asyncio.timeout_at(self.expires_at) as timeout:
                    yield
        except TimeoutError:
            if not timeout.expired():
                raise
            late = f"The response was not ready within {self._deadline} seconds."
            raise DeadlineExceeded(late) from None

    async def reserve_memory(self, memory: int, priority: float) -> None:
        """Wait for bytes of memory, by priority, in place of those reserved before.

        Raises:
            TooMuchMemory: the request would need more than all of the memory.
        """
        self.release_memory()
        await self._admission.reserve(memory, priority)
        self._memory = memory

    def release_memory(self) -> None:
        """Release the reserved memory."""
        memory, self._memory = self._memory, 0
        if memory:
            self._admission.release(memory)

    def keep(self, resource: AbstractContextManager[R]) -> R:
        """Enter a context, and leave it when the last holder leaves."""
        return self._resources.enter_context(resource)

    async def run(
        self,
        pool: PriorityThreadPool,
        priority: float,
        function: Callable[P, R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Run a function on a thread, which holds the permit even if this is cancelled."""
        call = pool.submit(priority, function, *args, **kwargs)
        result = asyncio.wrap_future(call)
        self.__enter__()
        result.add_done_callback(lambda _: self.__exit__(None, None, None))
        try:
            return await asyncio.shield(result)  # which ends with the call, not before
        except asyncio.CancelledError:
            self.cancelled = True  # ends the call at its next strip or stage
            call.cancel()
            raise

    async def run_stage(
        self, pool: PriorityThreadPool, priority: float, stage: str, function: Callable[[], R]
    ) -> R:
        """Run a function on a thread as `run` does, and measure it as a stage."""

        def measured() -> R:
            with self.measure(stage):
                return function()

        return await self.run(pool, priority, measured)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Measure a stage; on any thread, one at a time.

        Raises:
            CancelledError: nothing waits for the result any more.
        """
        self._check_cancelled()
        self.stage = stage
        begin = perf_counter()
        try:
            yield
        finally:
            self.record(stage, perf_counter() - begin)

    def unless_cancelled(self, function: Callable[[T], R]) -> Callable[[T], R]:
        """Return a function that raises CancelledError once the request is cancelled."""

        def run(argument: T) -> R:
            self._check_cancelled()
            return function(argument)

        return run

    def _check_cancelled(self) -> None:
        if self.cancelled:
            raise CancelledError

    def record(self, stage: str, seconds: float) -> None:
        """Note a stage that has just ended."""
        end = time_ns()
        self.stages.append(StageTime(stage, end - round(seconds * 1e9), end))
        self.stage = "queue"

    def timings(self) -> Timings:
        """Return the times so far."""
        return Timings(tuple(self.stages), monotonic() - self._entered)
