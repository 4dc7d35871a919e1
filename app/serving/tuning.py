"""Settings of the process, made once before it serves."""

from __future__ import annotations

import ctypes
import sys

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
    if mallopt is not None:
        for parameter, value in (
            (_ARENA_MAX, 1),
            (_MMAP_THRESHOLD, _NEVER),
            (_TRIM_THRESHOLD, _NEVER),
        ):
            mallopt(parameter, value)
