"""The Prometheus metrics, in seconds and bytes; no other module defines any."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from starlette.requests import ClientDisconnect

from app.errors import PROBLEMS
from app.serving.batching import Batcher
from app.serving.permit import Permit
from app.serving.results import STAGES, Timings
from app.serving.service import EnhancementService
from app.web.observability import dropped_lines
from app.web.uploads import Uploads

DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STAGE_DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

CLIENT_CLOSED_REQUEST = 499  # nginx's status for a client that disconnected before the response


class Metrics:
    """One registry per app: events are counted here, gauges are collected on scrape."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        # The creation time of each series would double the page.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._requests = Counter(
            "clut_requests_total",
            "Responses, by route, method and status.",
            ("route", "method", "status"),
            registry=registry,
        )
        self._duration = Histogram(
            "clut_request_duration_seconds",
            "Seconds from the headers of a request to the end of its response; without shed load.",
            ("route", "method"),
            buckets=DURATIONS,
            registry=registry,
        )
        self._stages = Histogram(
            "clut_stage_duration_seconds",
            "Seconds in each stage of a request.",
            ("stage", "model"),
            buckets=STAGE_DURATIONS,
            registry=registry,
        )
        self._queue = Histogram(
            "clut_queue_wait_seconds",
            "Seconds that a request waited between its stages.",
            ("model",),
            buckets=STAGE_DURATIONS,
            registry=registry,
        )
        self._rejected = Counter(
            "clut_rejected_total",
            "Requests rejected with a problem document, by its code.",
            ("reason",),
            registry=registry,
        )
        self._cancelled = Counter(
            "clut_cancelled_total",
            "Requests whose client disconnected, by the stage they were in.",
            ("stage",),
            registry=registry,
        )
        self._bytes_in = Counter(
            "clut_received_bytes_total", "Request body bytes.", registry=registry
        )
        self._bytes_out = Counter(
            "clut_sent_bytes_total", "Response body bytes.", registry=registry
        )

    def initialise(self, endpoints: Iterable[tuple[str, str]]) -> None:
        """Set the counters of endpoints, as (method, path), to 0.

        Prometheus sees no increase where a series begins at its first count, so that an alert
        would miss the first errors.
        """
        statuses = {200, CLIENT_CLOSED_REQUEST, *(problem.status for problem in PROBLEMS)}
        for method, path in endpoints:
            for status in sorted(statuses):
                self._requests.labels(path, method, status)
        for problem in PROBLEMS:
            self._rejected.labels(problem.code)
        for stage in ("receive", "queue", *STAGES):
            self._cancelled.labels(stage)

    def watch(self, service: EnhancementService, uploads: Uploads) -> None:
        """Collect the gauges of these on each scrape."""
        self.registry.register(_State(service, uploads))

    def observe_response(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a response."""
        self._requests.labels(route, method, status).inc()
        self._duration.labels(route, method).observe(seconds)

    def observe_bytes(self, received: int, sent: int) -> None:
        """Count the bytes of bodies."""
        self._bytes_in.inc(received)
        self._bytes_out.inc(sent)

    def observe_stages(self, timings: Timings, model: str) -> None:
        """Count the stages of a completed request; `model` is NAME@VERSION."""
        for stage, seconds in timings.seconds.items():
            self._stages.labels(stage, model).observe(seconds)
        self._queue.labels(model).observe(timings.queue)

    @contextmanager
    def count_cancelled(self, permit: Permit) -> Iterator[None]:
        """Count a request whose client disconnects within the context, by its stage."""
        try:
            yield
        except (ClientDisconnect, asyncio.CancelledError):  # Ray also cancels the request itself
            self._cancelled.labels(permit.stage).inc()
            raise

    def observe_unrouted(self, route: str, method: str, status: int, reason: str) -> None:
        """Count a request that was rejected before it was routed, without its duration."""
        self._requests.labels(route, method, status).inc()
        self.observe_rejected(reason)

    def observe_rejected(self, reason: str) -> None:
        """Count a rejected request; `reason` is the code of its problem."""
        self._rejected.labels(reason).inc()

    def exposition(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _State(Collector):
    """Gauges that are read from the service on each scrape."""

    def __init__(self, service: EnhancementService, uploads: Uploads) -> None:
        self._service, self._uploads = service, uploads

    def collect(self) -> Iterator[Metric]:
        for name, text, value in self._gauges():
            yield GaugeMetricFamily(name, text, value=value)
        yield CounterMetricFamily(
            "clut_dropped_log_lines", "Log lines dropped, as stdout was not read.", dropped_lines()
        )
        yield from self._sandbox()
        yield self._queue_depths()
        yield self._batch_sizes()
        yield self._batch_failures()
        yield self._models()

    def _gauges(self) -> Iterator[tuple[str, str, float]]:
        service, admission, uploads = self._service, self._service.admission, self._uploads
        budget, memory = uploads.policy.budget_bytes, service.models.device.memory
        sandbox = service.sandbox
        resident, decoding = resident_memory(), sandbox.memory
        yield "clut_ready", "1 if new requests are accepted.", service.ready
        yield "clut_alive", "0 if the process must be restarted.", service.alive
        yield "clut_in_flight_requests", "Requests in flight.", admission.requests
        yield "clut_queue_capacity", "Maximum of requests in flight.", admission.capacity
        yield "clut_reserved_memory_bytes", "Memory of requests in flight.", admission.reserved
        yield "clut_memory_budget_bytes", "Maximum of that memory.", admission.memory_bytes
        yield "clut_memory_waiters", "Requests that wait for memory.", admission.waiting
        yield "clut_in_flight_bytes", "Bytes of request bodies in memory.", uploads.held
        yield "clut_byte_budget", "Maximum of request body bytes in memory.", budget
        yield "clut_memory_limit_bytes", "Memory limit of the process.", memory_limit()
        yield "clut_memory_bytes", "Resident memory, sandbox included.", resident + decoding
        yield "clut_sandbox_memory_bytes", "Resident memory of sandbox processes.", decoding
        yield "clut_sandbox_processes", "Processes that decode images.", len(sandbox.processes)
        yield "clut_device_memory_bytes", "GPU memory in use; 0 without a GPU.", memory

    def _sandbox(self) -> Iterator[Metric]:
        sandbox = self._service.sandbox
        yield CounterMetricFamily(
            "clut_sandbox_seconds", "Seconds of all calls in these processes.", sandbox.seconds
        )
        calls = CounterMetricFamily(
            "clut_sandbox_calls", "Calls in these processes, by outcome.", labels=("outcome",)
        )
        for outcome, count in sandbox.outcomes.items():
            calls.add_metric((outcome,), count)
        yield calls

    def _queue_depths(self) -> Metric:
        family = GaugeMetricFamily(
            "clut_queue_depth", "Thumbnails that wait for the next batch.", labels=("model",)
        )
        for model, batcher in self._service.models.batchers.items():
            family.add_metric((model,), batcher.depth)
        return family

    def _batch_sizes(self) -> Metric:
        family = HistogramMetricFamily(
            "clut_batch_size", "Thumbnails per run of a network.", labels=("model",)
        )
        for model, batcher in self._service.models.batchers.items():
            family.add_metric((model,), *_histogram(batcher))
        return family

    def _batch_failures(self) -> Metric:
        family = CounterMetricFamily(
            "clut_batch_failures", "Failed runs of a network.", labels=("model",)
        )
        for model, batcher in self._service.models.batchers.items():
            family.add_metric((model,), batcher.failures)
        return family

    def _models(self) -> Metric:
        family = InfoMetricFamily(
            "clut_model",
            "Served models.",
            labels=("model", "architecture", "fingerprint", "device"),
        )
        for model in self._service.models.registry.models:
            card = model.card
            labels = (
                card.model_ref,
                card.architecture,
                card.fingerprint.hex(),
                self._service.models.device.name,
            )
            family.add_metric(labels, {})
        return family


def _histogram(batcher: Batcher[Any, Any]) -> tuple[list[tuple[str, float]], float]:
    """Return cumulative buckets, and the sum of all sizes."""
    sizes = batcher.sizes
    buckets = [
        (str(bound), float(sum(n for size, n in sizes.items() if size <= bound)))
        for bound in BATCH_SIZES
    ]
    return [*buckets, ("+Inf", float(sizes.total()))], float(sum(s * n for s, n in sizes.items()))


def resident_memory() -> int:
    """Return the resident bytes of this process; 0 where the system does not report them."""
    statm = Path("/proc/self/statm")
    pages = int(statm.read_text().split()[1]) if statm.exists() else 0
    return pages * os.sysconf("SC_PAGE_SIZE")


CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),  # version 2
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),  # version 1
)


def memory_limit() -> float:
    """Return the memory limit of the container's cgroup, or the machine's memory, in bytes."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *(_limit(path) for path in CGROUP_LIMITS if path.exists())])


def _limit(path: Path) -> float:
    text = path.read_text().strip()
    return math.inf if text == "max" else int(text)
