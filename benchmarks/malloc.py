"""The service's own way with glibc's allocator (app/serving/tuning.py) against jemalloc.

Run `python -m benchmarks.malloc`. Each allocator takes its turns with a server of its own; four
clients send a 12 MP photograph again and again. Medians over the rounds, as a Markdown table.
The load generator runs on the same cores. Needs jemalloc: Debian's libjemalloc2.
"""

from __future__ import annotations

import os
import statistics
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from benchmarks.photos import jpeg
from tests.helpers.server import Server, serving

MEGAPIXELS = 12
ROUNDS, CLIENTS, REQUESTS = 3, 4, 40
JEMALLOC = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"
ALLOCATORS = {"glibc, as the service sets it": {}, "jemalloc": {"LD_PRELOAD": JEMALLOC}}


@dataclass(frozen=True)
class Run:
    """MB at the peak and after the load, and the server's CPU milliseconds a photograph."""

    peak: float
    settled: float
    cpu: float


def megabytes(server: Server, field: str) -> float:
    """A figure of /proc/PID/status, such as VmHWM."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1000 for line in lines if line.startswith(field))


def cpu(server: Server) -> float:
    """Seconds that the server has had of any core."""
    lines = server.client.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("process_cpu_sec"))


def load(server: Server, body: bytes) -> float:
    """Sends all requests; answers the CPU milliseconds of each."""

    def post(_: int) -> None:
        server.client.post("/enhance", content=body).raise_for_status()

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(post, range(CLIENTS)))  # what is compiled or grown once
        before = cpu(server)
        list(clients.map(post, range(REQUESTS)))
    return (cpu(server) - before) / REQUESTS * 1000


def measured(environment: dict[str, str], body: bytes) -> Run:
    """One server under one allocator."""
    with patch.dict(os.environ, environment), serving(LOG_REQUESTS=False) as server:
        spent = load(server, body)
        return Run(megabytes(server, "VmHWM"), megabytes(server, "VmRSS"), spent)


def main() -> None:
    """Print the table."""
    if not Path(JEMALLOC).exists():  # the loader would go on without it, and glibc meet itself
        raise SystemExit(f"{JEMALLOC} is missing: apt-get install libjemalloc2")
    body = jpeg(MEGAPIXELS)
    runs: dict[str, list[Run]] = {name: [] for name in ALLOCATORS}
    for _ in range(ROUNDS):
        for name, environment in ALLOCATORS.items():
            runs[name].append(measured(environment, body))
    print("| allocator | peak MB | after the load MB | CPU ms a photo |\n| --- | --- | --- | --- |")
    for name, of_one in runs.items():
        peak, settled, spent = (
            statistics.median(getattr(run, field) for run in of_one)
            for field in ("peak", "settled", "cpu")
        )
        print(f"| {name} | {peak:.0f} | {settled:.0f} | {spent:.0f} |")


if __name__ == "__main__":
    main()
