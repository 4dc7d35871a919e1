"""Structured logs on standard output, and traces."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter
from starlette.datastructures import MutableHeaders
from starlette.types import Scope

from app.policies import LogPolicy
from app.serving.permit import Permit
from app.web.log_output import LogOutput

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


HEADER = "traceresponse"  # W3C Trace Context, level 2: the trace of the request


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
        headers[HEADER] = f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags}"


def is_probe(scope: Scope) -> bool:
    """Return whether a request is a probe, which comes every few seconds and is not traced."""
    return scope["path"] in PROBES
