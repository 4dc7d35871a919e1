"""Traces, as a collector receives them over OTLP."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.helpers.server import PATIENCE, serving

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
STAGES = {"decode", "predict", "apply", "encode"}


@contextmanager
def collector(spans: Queue[Span]) -> Iterator[str]:
    """Receive spans; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for of_scope in of_resource.scope_spans:
                    for span in of_scope.spans:
                        spans.put(span)
            self.send_response(200)
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def traced() -> Iterator[tuple[httpx.Client, Queue[Span]]]:
    """Start a server that exports its spans, and return its client and the spans."""
    spans: Queue[Span] = Queue()
    with collector(spans) as endpoint:
        environment = {
            "FASTAPI_OTEL_AUTO_CONFIGURE": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        with serving(environment=environment) as server:
            yield server.client, spans


def spans_until(spans: Queue[Span], names: set[str]) -> dict[str, Span]:
    """Wait for spans of these names, and return by name all that came."""
    seen: dict[str, Span] = {}
    while not names <= set(seen):
        span = spans.get(timeout=PATIENCE)
        seen[span.name] = span
    return seen


def test_a_request_and_its_stages(traced: tuple[httpx.Client, Queue[Span]], otters: bytes) -> None:
    """The client's trace continues with the request and its stages, and the response names it."""
    client, spans = traced
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    response = client.post("/enhance", content=otters, headers=headers)
    assert response.headers["traceresponse"].startswith(f"00-{TRACE}-")
    seen = spans_until(spans, {"POST /enhance", *STAGES})
    request = seen["POST /enhance"]
    assert request.trace_id.hex() == TRACE
    assert request.parent_span_id.hex() == PARENT
    for stage in STAGES:
        span = seen[stage]
        assert span.trace_id.hex() == TRACE
        assert span.parent_span_id
        assert request.start_time_unix_nano <= span.start_time_unix_nano
        assert span.start_time_unix_nano <= span.end_time_unix_nano <= request.end_time_unix_nano


def test_probes_are_not_traced(traced: tuple[httpx.Client, Queue[Span]]) -> None:
    """Probes, which come every few seconds, make no spans."""
    client, spans = traced
    client.get("/readyz")
    client.get("/models")
    assert not [name for name in spans_until(spans, {"GET /models"}) if "/readyz" in name]


def test_without_a_collector_nothing_is_named(client: httpx.Client) -> None:
    """Without a trace there is no header."""
    assert "traceresponse" not in client.get("/models").headers
