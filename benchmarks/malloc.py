"""What the allocator costs: peak and settled memory, and requests per second, of the real service.

Run `python -m benchmarks.malloc`. Each allocator takes its turns with a server of its own; four
clients send a 12 MP photograph again and again. Medians over the rounds, as a Markdown table.
The load generator runs on the same cores.
"""

from __future__ import annotations

import os
import statistics
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from time import perf_counter
from unittest.mock import patch

import httpx
from PIL import Image

from tests.server import Server, serving

PHOTO = Path(__file__).parent.parent / "tests" / "photos" / "lake.jpg"
SIZE = (4000, 3000)
ROUNDS, CLIENTS, REQUESTS = 3, 4, 40
JEMALLOC = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"
ALLOCATORS = {
    "glibc as it is": {},
    "glibc, MALLOC_ARENA_MAX=2": {"MALLOC_ARENA_MAX": "2"},
    "glibc, MALLOC_ARENA_MAX=2, MALLOC_TRIM_THRESHOLD_=131072": {
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_TRIM_THRESHOLD_": "131072",
    },
    "jemalloc": {"LD_PRELOAD": JEMALLOC},
}


@dataclass(frozen=True)
class Run:
    """MB at the peak and after the load, and requests per second."""

    peak: float
    settled: float
    rate: float


def photo() -> bytes:
    """A JPEG of 12 MP."""
    buffer = BytesIO()
    with Image.open(PHOTO) as image:
        image.resize(SIZE).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def megabytes(server: Server, field: str) -> float:
    """A figure of /proc/PID/status, such as VmHWM."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1000 for line in lines if line.startswith(field))


def load(client: httpx.Client, body: bytes) -> float:
    """Sends all requests; answers how many there were in a second."""

    def post(_: int) -> None:
        client.post("/enhance", content=body).raise_for_status()

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(post, range(CLIENTS)))  # what is compiled or grown once
        begun = perf_counter()
        list(clients.map(post, range(REQUESTS)))
        return REQUESTS / (perf_counter() - begun)


def measured(environment: dict[str, str], body: bytes) -> Run:
    """One server under one allocator."""
    with patch.dict(os.environ, environment), serving(HTTP_ACCESS_LOG=False) as server:
        rate = load(server.client, body)
        return Run(megabytes(server, "VmHWM"), megabytes(server, "VmRSS"), rate)


def main() -> None:
    """Print the table."""
    body = photo()
    runs: dict[str, list[Run]] = {name: [] for name in ALLOCATORS}
    for _ in range(ROUNDS):
        for name, environment in ALLOCATORS.items():
            runs[name].append(measured(environment, body))
    print("| allocator | peak MB | after the load MB | req/s |\n| --- | --- | --- | --- |")
    for name, of_one in runs.items():
        peak, settled, rate = (
            statistics.median(getattr(run, field) for run in of_one)
            for field in ("peak", "settled", "rate")
        )
        print(f"| {name} | {peak:.0f} | {settled:.0f} | {rate:.1f} |")


if __name__ == "__main__":
    main()
