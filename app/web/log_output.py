"""Writes log lines from a queue, so that a reader that is slow or gone blocks no request."""

from __future__ import annotations

import atexit
import logging
import os
import select
import threading
from queue import SimpleQueue

MAX_LINES = 2000  # in the queue; further ones are dropped
FLUSH_SECONDS = 1.0  # at exit


class LogOutput(logging.Handler):
    """Writes records to a file descriptor in a thread of its own, and counts those it drops.

    Attributes:
        dropped: how many records were dropped since the start.
    """

    def __init__(self, descriptor: int = 1) -> None:
        super().__init__()
        self._descriptor = descriptor
        # A signal handler may log while the main thread puts a line: SimpleQueue is reentrant.
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        self._reported = self.dropped = 0
        self._idle = threading.Event()
        self._idle.set()
        threading.Thread(target=self._write_lines, name="log", daemon=True).start()
        atexit.register(self.drain)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record, or drop it where the queue is full."""
        if self._lines.qsize() >= MAX_LINES:
            self.dropped += 1
            return
        try:
            line = self.format(record)
        except Exception:
            self.handleError(record)
            return
        self._idle.clear()
        self._lines.put(line.encode("ascii", "backslashreplace") + b"\n")

    def drain(self, seconds: float = FLUSH_SECONDS) -> None:
        """Wait until the queue is written, but no longer than that."""
        self._idle.wait(seconds)

    def _write_lines(self) -> None:
        while True:
            if self._lines.empty():
                self._report()
                self._idle.set()
            line = self._lines.get()
            self._idle.clear()
            try:
                self._write(line)
            except OSError:  # the reader is gone
                self.dropped += 1

    def _report(self) -> None:
        """Log how many records were dropped, once there is room."""
        missing = self.dropped - self._reported
        if missing:
            self._reported = self.dropped
            record = logging.LogRecord(
                "clut", logging.WARNING, "", 0, "%d log lines were dropped", (missing,), None
            )
            self._lines.put(self.format(record).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        rest = memoryview(line)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # a pipe that its owner made non-blocking
                select.select([], [self._descriptor], [])


def dropped_lines() -> int:
    """Return how many records this process has dropped."""
    return sum(it.dropped for it in logging.getLogger().handlers if isinstance(it, LogOutput))


def drain() -> None:
    """Write what is queued, before the process ends at once."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogOutput):
            handler.drain()
