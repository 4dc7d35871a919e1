"""Memory under load: `python -m benchmarks.memory [--quick]`.

The peak with 16 clients at 24 MP, in bytes per pixel in flight, and the growth over ten thousand
requests of small images.
"""

from __future__ import annotations

import statistics
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor

from app.policies import BYTES_PER_PIXEL, AdmissionPolicy
from benchmarks.photos import SIZES, make_jpeg
from benchmarks.servers import Load, RunningServer, load, run_server

CLIENTS, LARGE, SMALL = 16, 24, 0.3
SECONDS, QUICK_SECONDS = 30, 6
REQUESTS, QUICK_REQUESTS = 10_000, 500
WINDOWS = 8  # minimum number of medians, each of WINDOW seconds
WINDOW = 2
WATCH_EVERY = 0.05
MEGA = 2**20


def sample_memory(server: RunningServer, loading: Future[Load]) -> list[int]:
    """Return samples of the resident bytes until the load ends."""
    seen = []
    while not loading.done():
        seen.append(server.memory)
        time.sleep(WATCH_EVERY)
    return seen


def report_peak(server: RunningServer, seconds: float) -> None:
    """Print the peak at full load."""
    base = server.memory
    with ThreadPoolExecutor(1) as pool:
        body = make_jpeg(LARGE)
        loading = pool.submit(load, server, "/enhance", body=body, clients=CLIENTS, seconds=seconds)
        most = max(sample_memory(server, loading))
    width, height = SIZES[LARGE]
    admitted = min(AdmissionPolicy().memory_bytes // BYTES_PER_PIXEL, CLIENTS * width * height)
    each = (most - base) / admitted
    print(f"| {CLIENTS} clients, {LARGE} MP | MiB |")
    print("|---|---:|")
    print(f"| before | {base / MEGA:.0f} |")
    print(f"| peak | {most / MEGA:.0f} |")
    print(f"| bytes per pixel, {admitted / 1e6:.0f} MP in flight | {each:.2f} |\n")


def report_growth(server: RunningServer, requests: int) -> None:
    """Print the memory in the second and the last quarter of the requests."""
    done, seen = 0, list[float]()
    with ThreadPoolExecutor(1) as pool:
        while done < requests or len(seen) < WINDOWS:
            loading = pool.submit(load, server, "/enhance", body=make_jpeg(SMALL), seconds=WINDOW)
            samples = sample_memory(server, loading)
            done += round(loading.result().requests_per_second * WINDOW)
            seen.append(statistics.median(samples))
    quarter = len(seen) // 4
    second, fourth = (statistics.median(seen[n * quarter :][:quarter]) for n in (1, 3))
    print(f"| {done} requests | MiB |")
    print("|---|---:|")
    print(f"| second quarter | {second / MEGA:.0f} |")
    print(f"| last quarter | {fourth / MEGA:.0f} |")
    print(f"| change | {100 * (fourth / second - 1):+.1f} % |")


def main(quick: bool) -> None:
    """Measure and print."""
    with run_server("clut-enhance", make_jpeg(1)) as server:
        report_peak(server, QUICK_SECONDS if quick else SECONDS)
    with run_server("clut-enhance", make_jpeg(1)) as server:
        report_growth(server, QUICK_REQUESTS if quick else REQUESTS)


if __name__ == "__main__":
    main("--quick" in sys.argv)
