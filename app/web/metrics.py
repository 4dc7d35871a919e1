"""What Prometheus sees: the only file that knows it. Seconds and bytes."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Iterator
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

from app.errors import Problem
from app.serving.batching import Batcher
from app.serving.permit import Permit
from app.serving.results import Timings
from app.serving.service import EnhancementService
from app.web.uploads import Uploads

DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STAGE_DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """One registry for each app: what happened is counted here, what is now is looked up."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        # When each series began: as many lines again, for nobody.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._requests = Counter(
            "clut_requests_total",
            "Requests answered.",
            ("route", "method", "status"),
            registry=registry,
        )
        self._duration = Histogram(
            "clut_request_duration_seconds",
            "From first byte to last of a request and its answer; not of refusals at the door.",
            ("route", "method"),
            buckets=DURATIONS,
            registry=registry,
        )
        self._stages = Histogram(
            "clut_stage_duration_seconds",
            "Time spent in each stage of a request.",
            ("stage", "model"),
            buckets=STAGE_DURATIONS,
            registry=registry,
        )
        self._queue = Histogram(
            "clut_queue_wait_seconds",
            "Time that a request spent waiting for its turn, between the stages.",
            ("model",),
            buckets=STAGE_DURATIONS,
            registry=registry,
        )
        self._rejected = Counter(
            "clut_rejected_total",
            "Requests refused with a problem, by its code.",
            ("reason",),
            registry=registry,
        )
        self._cancelled = Counter(
            "clut_cancelled_total",
            "Requests whose caller departed, by the stage they were in.",
            ("stage",),
            registry=registry,
        )
        self._bytes_in = Counter("clut_received_bytes_total", "Body bytes in.", registry=registry)
        self._bytes_out = Counter("clut_sent_bytes_total", "Body bytes out.", registry=registry)

    def watch(self, service: EnhancementService, uploads: Uploads) -> None:
        """Looks at these whenever the metrics are read."""
        self.registry.register(_State(service, uploads))

    def observe_response(self, route: str, method: str, status: int, seconds: float) -> None:
        """Counts an answer."""
        self._requests.labels(route, method, status).inc()
        self._duration.labels(route, method).observe(seconds)

    def observe_bytes(self, received: int, sent: int) -> None:
        """Counts the bytes of bodies."""
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

    def observe_shed(self, route: str, method: str, problem: Problem, sent: int) -> None:
        """Counts what was answered at the door: its duration, next to none, tells nothing."""
        self._requests.labels(route, method, problem.status).inc()
        self._bytes_out.inc(sent)
        self.rejected(problem.code)

    def rejected(self, reason: str) -> None:
        """Counts a refusal."""
        self._rejected.labels(reason).inc()

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)


class _State(Collector):
    """What is read off the service at the moment of the scrape."""

    def __init__(self, service: EnhancementService, uploads: Uploads) -> None:
        self._service, self._uploads = service, uploads

    def collect(self) -> Iterator[Metric]:
        service, admission = self._service, self._service.admission
        yield _gauge("clut_ready", "1 when new requests are welcome.", service.ready)
        yield _gauge("clut_alive", "0 when only a restart helps.", service.alive)
        yield _gauge("clut_in_flight_requests", "Requests in the house.", admission.requests)
        yield _gauge("clut_queue_capacity", "Most requests in the house.", admission.capacity)
        yield _gauge("clut_reserved_memory_bytes", "Memory of requests.", admission.reserved)
        yield _gauge("clut_memory_budget_bytes", "Most memory.", admission.memory_bytes)
        yield _gauge("clut_memory_waiters", "Requests waiting for memory.", admission.waiting)
        yield _gauge("clut_in_flight_bytes", "Bytes of bodies in memory.", self._uploads.held)
        yield _gauge("clut_byte_budget", "Most bytes of bodies.", self._uploads.policy.budget_bytes)
        yield _gauge("clut_memory_limit_bytes", "What the process may take.", memory_limit())
        yield _gauge(
            "clut_device_memory_bytes", "GPU memory held; 0 without.", service.models.device.memory
        )
        yield self._queue_depths()
        yield self._batch_sizes()
        yield self._batch_failures()
        yield self._models()

    def _queue_depths(self) -> Metric:
        family = GaugeMetricFamily(
            "clut_queue_depth", "Thumbnails waiting for the next batch.", labels=("model",)
        )
        for model, batcher in self._service.models.batchers.items():
            family.add_metric((model,), batcher.depth)
        return family

    def _batch_sizes(self) -> Metric:
        family = HistogramMetricFamily(
            "clut_batch_size", "Thumbnails in one run of a network.", labels=("model",)
        )
        for model, batcher in self._service.models.batchers.items():
            family.add_metric((model,), *_histogram(batcher))
        return family

    def _batch_failures(self) -> Metric:
        family = CounterMetricFamily(
            "clut_batch_failures", "Runs of a network that failed.", labels=("model",)
        )
        for model, batcher in self._service.models.batchers.items():
            family.add_metric((model,), batcher.failures)
        return family

    def _models(self) -> Metric:
        family = InfoMetricFamily(
            "clut_model",
            "The models that are served.",
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


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _histogram(batcher: Batcher[Any, Any]) -> tuple[list[tuple[str, float]], float]:
    """Cumulative buckets, and the sum of all sizes."""
    sizes = batcher.sizes
    buckets = [
        (str(bound), float(sum(n for size, n in sizes.items() if size <= bound)))
        for bound in BATCH_SIZES
    ]
    return [*buckets, ("+Inf", float(sizes.total()))], float(sum(s * n for s, n in sizes.items()))


CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),  # version 2
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),  # version 1
)


def memory_limit() -> float:
    """Bytes: what the container's cgroup allows, or else what the machine has."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *(_limit(path) for path in CGROUP_LIMITS if path.exists())])


def _limit(path: Path) -> float:
    text = path.read_text().strip()
    return math.inf if text == "max" else int(text)
