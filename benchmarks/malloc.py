"""glibc's allocator as app/main.py sets it, and jemalloc: `python -m benchmarks.malloc`.

Each round starts a server with each allocator; four clients send an image of 12 MP repeatedly. The
table has medians over the rounds. The load generator runs on the same cores. Needs Debian's
libjemalloc2.
"""

from __future__ import annotations

import os
import statistics
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from benchmarks.photos import make_jpeg
from tests.helpers.server import PROGRAM, Server, serving

MEGAPIXELS = 12
ROUNDS, CLIENTS, REQUESTS = 3, 4, 40
JEMALLOC = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"
ALLOCATORS = {"glibc with the service's settings": {}, "jemalloc": {"LD_PRELOAD": JEMALLOC}}


@dataclass(frozen=True)
class Run:
    """MB at the peak and after the load, and CPU milliseconds per image."""

    peak: float
    settled: float
    cpu: float


def read_megabytes(server: Server, field: str) -> float:
    """Read a field of /proc/PID/status, such as VmHWM."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1000 for line in lines if line.startswith(field))


def read_cpu_seconds(server: Server) -> float:
    """Read the CPU seconds of the server."""
    lines = server.client.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("process_cpu_sec"))


def load(server: Server, body: bytes) -> float:
    """Send all requests; return the CPU milliseconds per request."""

    def post(_: int) -> None:
        server.client.post("/enhance", content=body).raise_for_status()

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(post, range(CLIENTS)))  # allocates what is allocated once
        before = read_cpu_seconds(server)
        list(clients.map(post, range(REQUESTS)))
    return (read_cpu_seconds(server) - before) / REQUESTS * 1000


def measure(environment: dict[str, str], body: bytes) -> Run:
    """Measure one server with one allocator."""
    with (
        patch.dict(os.environ, environment),
        serving(program=PROGRAM, LOG_REQUESTS=False) as server,
    ):
        spent = load(server, body)
        return Run(read_megabytes(server, "VmHWM"), read_megabytes(server, "VmRSS"), spent)


def main() -> None:
    """Print the table."""
    if not Path(JEMALLOC).exists():  # the loader would ignore it
        raise SystemExit(f"{JEMALLOC} is missing: apt-get install libjemalloc2")
    body = make_jpeg(MEGAPIXELS)
    runs: dict[str, list[Run]] = {name: [] for name in ALLOCATORS}
    for _ in range(ROUNDS):
        for name, environment in ALLOCATORS.items():
            runs[name].append(measure(environment, body))
    print(
        "| allocator | peak MB | MB after the load | CPU ms per image |\n| --- | --- | --- | --- |"
    )
    for name, of_allocator in runs.items():
        peak, settled, spent = (
            statistics.median(getattr(run, field) for run in of_allocator)
            for field in ("peak", "settled", "cpu")
        )
        print(f"| {name} | {peak:.0f} | {settled:.0f} | {spent:.0f} |")


if __name__ == "__main__":
    main()
