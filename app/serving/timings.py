"""How long the stages of one request took: data that travel with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter, time_ns

STAGES = ("decode", "predict", "apply", "encode")


class Timings:
    """A request's stopwatch; one hand at a time writes it, the loop's or a worker's.

    Attributes:
        seconds: time spent in each of `STAGES` that has run.
        stage: where the request is now: "receive", then one of `STAGES`, or "queue" between them.
        model: NAME@VERSION of the model that was asked, once known.
        pixels: how many pixels were admitted, once known.
        spans: (stage, begin, end) of each, in nanoseconds since 1970.
    """

    def __init__(self) -> None:
        self._begun = perf_counter()
        self.seconds: dict[str, float] = {}
        self.stage = "receive"
        self.model = ""
        self.pixels = 0
        self.spans: list[tuple[str, int, int]] = []

    def received(self) -> None:
        """The body is there: from now on, waiting is ours."""
        self._begun = perf_counter()
        self.stage = "queue"

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Measures a stage."""
        self.stage = stage
        begun = perf_counter()
        try:
            yield
        finally:
            self.record(stage, perf_counter() - begun)
            self.stage = "queue"

    def record(self, stage: str, seconds: float) -> None:
        """Notes a stage that has just ended."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
        end = time_ns()
        self.spans.append((stage, end - round(seconds * 1e9), end))

    @property
    def total(self) -> float:
        """Seconds since the request was received."""
        return perf_counter() - self._begun

    @property
    def queue(self) -> float:
        """Seconds spent waiting: what no stage accounts for."""
        return max(0.0, self.total - sum(self.seconds.values()))
