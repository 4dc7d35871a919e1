"""What a process that serves is set to, once, before it begins."""

from __future__ import annotations

import ctypes
import sys

SWITCH_INTERVAL = 0.5e-3  # seconds; Python's own is 5 ms, as long as a stage of a small photograph


def tune_process() -> None:
    """Keeps freed memory, and lets threads take the interpreter from each other sooner.

    A worker that comes back from compiled code waits for the interpreter while a core idles, and
    so does a probe behind a worker.
    """
    keep_freed_memory()
    sys.setswitchinterval(SWITCH_INTERVAL)


# mallopt(3) of glibc.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_NEVER = 1 << 30


def keep_freed_memory() -> None:
    """Lets the next photograph have the memory of the last one, where the C library is glibc.

    It would give every large block back to the system at once, which must clear its pages before
    it hands them out again: up to a fifth of what decoding a JPEG costs. One arena serves all
    threads: the others of glibc cannot grow beyond 64 MB. Memory stays at its peak, which the
    pixel budget bounds.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in (
            (_ARENA_MAX, 1),
            (_MMAP_THRESHOLD, _NEVER),
            (_TRIM_THRESHOLD, _NEVER),
        ):
            mallopt(parameter, value)
