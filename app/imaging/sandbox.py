"""Processes for decoders that bad bytes can crash: a crash costs one photograph, not the server."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from queue import Empty, LifoQueue
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from loky.process_executor import ProcessPoolExecutor

from app.errors import DamagedImage

P = ParamSpec("P")
R = TypeVar("R")

IDLE_SECONDS = 60.0  # until a process that has nothing to do is ended, its server killed or not


class Sandbox:
    """As many processes as ran at the same time, one call in each.

    Nobody is hurt by a neighbour's photograph. A context manager: leaving ends the processes.
    """

    def __init__(self) -> None:
        self._idle: LifoQueue[ProcessPoolExecutor] = LifoQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while not self._idle.empty():
            self._idle.get_nowait().shutdown(kill_workers=True)

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs a function in another process; its arguments and results have to be picklable.

        Raises:
            DamagedImage: the process has died.
            Exception: whatever the function raised.
        """
        try:
            process = self._idle.get_nowait()
        except Empty:
            process = ProcessPoolExecutor(max_workers=1, timeout=IDLE_SECONDS)
        try:
            result: R = process.submit(function, *args, **kwargs).result()
        except BrokenProcessPool:
            process.shutdown(wait=False, kill_workers=True)
            raise DamagedImage("The image is built such that its decoder crashed.") from None
        except BaseException:
            self._idle.put(process)
            raise
        self._idle.put(process)
        return result


def run_in(
    sandbox: Sandbox | None, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> R:
    """Run a function in a sandbox, or in this process if that is None."""
    if sandbox is None:
        return function(*args, **kwargs)
    return sandbox.run(function, *args, **kwargs)
