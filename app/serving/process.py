"""What a process that serves is set to, once, before it begins."""

from __future__ import annotations

import sys

from app.serving.malloc import keep_freed_memory

HAND_OVER = 0.5e-3  # seconds; Python's own is 5 ms, as long as a stage of a small photograph


def prepare_process() -> None:
    """Keeps freed memory, and lets threads take the interpreter from each other sooner.

    A worker that comes back from compiled code waits for the interpreter while a core idles, and
    so does a probe behind a worker.
    """
    keep_freed_memory()
    sys.setswitchinterval(HAND_OVER)
