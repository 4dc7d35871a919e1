"""Structured logs on standard output, and traces.

Log lines are written from a queue, so that a reader that is slow or gone blocks no request.
"""

from __future__ import annotations

import atexit
import logging
import logging.config
import os
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

from opentelemetry import trace
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter
from starlette.datastructures import MutableHeaders
from starlette.types import Scope

from app.policies import LogPolicy
from app.serving.permit import Permit

PROBES = frozenset({"/livez", "/readyz", "/metrics"})


def configure(policy: LogPolicy) -> None:
    """Write everything that this process logs to standard output, one JSON object per line."""
    logging.captureWarnings(capture=True)
    logging.config.dictConfig(_configuration(policy))


def _configuration(policy: LogPolicy) -> dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": JsonFormatter,  # in ASCII, so that no line break of Unicode splits a line
                "fmt": ["levelname", "name", "message"],
                "timestamp": "time",
                "rename_fields": {"levelname": "level", "name": "logger"},
                # uvicorn repeats some messages with terminal colours
                "reserved_attrs": [*RESERVED_ATTRS, "color_message"],
            }
        },
        "handlers": {"stdout": {"()": LogOutput, "formatter": "json"}},
        "root": {"handlers": ["stdout"], "level": "INFO"},
        "loggers": {
            "clut.request": {"level": "INFO" if policy.requests else "WARNING"},
            # It logs each damaged tag of a file: one request could fill the disk.
            "tifffile": {"level": "CRITICAL", "propagate": False},
        },
    }


TRACE_HEADER = "traceresponse"  # W3C Trace Context, level 2: the trace of the request


@contextmanager
def trace_stages(permit: Permit) -> Iterator[None]:
    """Emit a span for each stage that has run by the end of the context."""
    try:
        yield
    finally:
        tracer = trace.get_tracer("clut-enhance")
        for it in permit.stages:
            tracer.start_span(it.stage, start_time=it.begin).end(it.end)


def describe_request(model: str, pixels: int) -> None:
    """Add the model, NAME@VERSION, and the decoded pixels to the span of the request."""
    trace.get_current_span().set_attributes({"clut.model": model, "clut.pixels": pixels})


def set_trace_header(headers: MutableHeaders) -> None:
    """Name the trace of the request to its client, if the request is traced."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        flags = f"{context.trace_flags:02x}"
        headers[TRACE_HEADER] = f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags}"


def is_probe(scope: Scope) -> bool:
    """Return whether a request is a probe, which comes every few seconds and is not traced."""
    return scope["path"] in PROBES


MAX_LINES = 2000  # in the queue; further ones are dropped
GATHER_SECONDS = 0.05  # so that a busy server does not change threads for each line
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
        self._idle, self._ending = threading.Event(), threading.Event()
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
        """Wait until the queue is written, but no longer than that; the process ends."""
        self._ending.set()
        self._idle.wait(seconds)

    def _write_lines(self) -> None:
        while True:
            if self._lines.empty():
                self._report()
                self._idle.set()
            lines = [self._lines.get()]
            self._idle.clear()
            self._ending.wait(GATHER_SECONDS)
            while not self._lines.empty():
                lines.append(self._lines.get())
            try:
                self._write(b"".join(lines))
            except OSError:  # the reader is gone
                self.dropped += len(lines)

    def _report(self) -> None:
        """Log how many records were dropped, once there is room."""
        missing = self.dropped - self._reported
        if missing:
            self._reported = self.dropped
            record = logging.LogRecord(
                "clut", logging.WARNING, "", 0, "%d log lines were dropped", (missing,), None
            )
            self._lines.put(self.format(record).encode() + b"\n")

    def _write(self, lines: bytes) -> None:
        rest = memoryview(lines)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # a pipe that its owner made non-blocking
                select.select([], [self._descriptor], [])


def dropped_lines() -> int:
    """Return how many records this process has dropped."""
    return sum(it.dropped for it in logging.getLogger().handlers if isinstance(it, LogOutput))


def flush_logs() -> None:
    """Write the queued lines, before the process ends at once."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogOutput):
            handler.drain()
