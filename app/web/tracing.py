"""Traces, where OpenTelemetry is set up: FastAPI makes a span of each request, this its stages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from starlette.datastructures import MutableHeaders
from starlette.types import Scope

from app.serving.timings import Timings

HEADER = "traceresponse"  # W3C Trace Context, level 2: the trace that the answer belongs to


@contextmanager
def traced(timings: Timings) -> Iterator[None]:
    """In the end, a span for each stage that has run, within that of the request."""
    try:
        yield
    finally:
        tracer = trace.get_tracer("clut-enhance")
        attributes: dict[str, str | int] = {
            "clut.model": timings.model,
            "clut.pixels": timings.pixels,
        }
        for stage, begin, end in timings.spans:
            tracer.start_span(stage, start_time=begin, attributes=attributes).end(end)


def name_trace(headers: MutableHeaders) -> None:
    """Tells the caller where to find what happened; nothing where nothing is traced."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        flags = f"{context.trace_flags:02x}"
        headers[HEADER] = f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags}"


def is_probe(scope: Scope) -> bool:
    """What comes every few seconds and tells nothing."""
    return scope["path"] in ("/livez", "/readyz", "/metrics")
