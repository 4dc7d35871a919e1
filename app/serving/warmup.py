"""The process and its caches: set up once at the start, while the server already listens."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import sys
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import Self

import numpy as np

from app.imaging.resize import make_thumbnail
from app.luts import apply
from app.luts.formats.cube import write_cube
from app.luts.local_lut import LocalLut
from app.luts.lut3d import Interpolation, Lut3D
from app.luts.lut_error import mean_difference
from app.restoration.apply import compile_loops as compile_restoration

log = logging.getLogger("clut")


class WarmUp:
    """Work that the first requests wait for.

    An async context manager: entering starts the work, leaving waits for its end.
    """

    def __init__(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        self._work = work
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._work(), name="warm-up")
        self._task.add_done_callback(_report_failure)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._task is not None:
            await asyncio.wait([self._task])

    @property
    def done(self) -> bool:
        """Whether the work has succeeded."""
        return self._task is not None and self._task.done() and not self.failed

    @property
    def failed(self) -> bool:
        """Whether the work has failed."""
        task = self._task
        return task is not None and task.done() and _failed(task)

    async def wait(self) -> None:
        """Wait for the end of the work.

        Raises:
            Exception: whatever the work failed with.
        """
        if self._task is not None:
            await asyncio.shield(self._task)


def _failed(task: asyncio.Task[None]) -> bool:
    return task.cancelled() or task.exception() is not None


def _report_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("the warm-up failed", exc_info=task.exception())


STEEP, SMOOTH = Lut3D.identity(2), Lut3D.identity(33)  # the first is too steep to pack
LOCAL = [LocalLut((it, it), np.zeros((1, 1, 1, 1), np.uint8)) for it in (SMOOTH, STEEP)]


def compile_loops(interpolations: Iterable[Interpolation]) -> None:
    """Compile every inner loop, or load it from disk, before a request needs it."""
    for dtype in (np.uint8, np.uint16):
        pixel = np.zeros((1, 1, 3), dtype)
        make_thumbnail(pixel, 1, antialias=False)
        mean_difference(pixel[0], pixel[0])
        for interpolation in interpolations:
            apply.apply(pixel, SMOOTH, interpolation)
            apply.apply(pixel, STEEP, interpolation)
        for local in LOCAL:
            apply.apply(pixel, local)
    write_cube(STEEP, title="")
    compile_restoration()


SWITCH_INTERVAL = 0.5e-3  # seconds; Python's default, 5 ms, is as long as a stage of a small image


def tune_process() -> None:
    """Keep freed memory, and switch threads sooner.

    A thread that returns from compiled code waits for the interpreter while a core idles, and so
    does a probe behind such a thread.
    """
    keep_freed_memory()
    sys.setswitchinterval(SWITCH_INTERVAL)


# mallopt(3) of glibc.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_NEVER = 1 << 30


def keep_freed_memory() -> None:
    """Reuse the memory of one image for the next, where the C library is glibc.

    By default glibc returns every large block to the system, which must clear its pages before it
    hands them out again: up to a fifth of the time of decoding a JPEG. One arena serves all
    threads, since the further arenas of glibc cannot grow beyond 64 MB. Memory stays at its peak,
    which admission control bounds.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in (
        (_ARENA_MAX, 1),
        (_MMAP_THRESHOLD, _NEVER),
        (_TRIM_THRESHOLD, _NEVER),
    ):
        if not mallopt(parameter, value):
            log.warning(
                "glibc rejects the parameter %d of mallopt; memory may be slower", parameter
            )
