"""What the C library does with memory that was freed."""

from __future__ import annotations

import ctypes

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
