"""Memory under load: `python -m benchmarks.memory [--quick]`.

The peak under 16 clients at 24 MP, against three bytes for every pixel that the budget admits;
and whether it stays flat over ten thousand requests of all the small sizes.
"""

from __future__ import annotations

import statistics
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor

from app.policies import BYTES_PER_PIXEL, AdmissionPolicy
from benchmarks.photos import SIZES, jpeg
from benchmarks.servers import Running, load, running

CLIENTS, LARGE, SMALL = 16, 24, 0.3
SECONDS, QUICK_SECONDS = 30, 6
REQUESTS, QUICK_REQUESTS = 10_000, 500
WINDOWS = 8  # at least so many medians, of WINDOW seconds each
WINDOW = 2
WATCH_EVERY = 0.05
MEGA = 2**20


def watched(server: Running, loading: Future[object]) -> list[int]:
    """Resident bytes, again and again until the load ends."""
    seen = []
    while not loading.done():
        seen.append(server.memory)
        time.sleep(WATCH_EVERY)
    return seen


def peak(server: Running, seconds: float) -> None:
    """Prints the peak at full load."""
    base = server.memory
    with ThreadPoolExecutor(1) as pool:
        body = jpeg(LARGE)
        loading = pool.submit(load, server, "/enhance", body=body, clients=CLIENTS, seconds=seconds)
        most = max(watched(server, loading))
    width, height = SIZES[LARGE]
    admitted = min(AdmissionPolicy().memory_bytes // BYTES_PER_PIXEL, CLIENTS * width * height)
    each = (most - base) / admitted
    print(f"| {CLIENTS} clients, {LARGE} MP | MiB |")
    print("|---|---:|")
    print(f"| before | {base / MEGA:.0f} |")
    print(f"| peak | {most / MEGA:.0f} |")
    print(f"| bytes for each of the {admitted / 1e6:.0f} million pixels admitted | {each:.2f} |\n")


def flat(server: Running, requests: int) -> None:
    """Prints the memory by quarters of so many requests."""
    done, seen = 0, []
    with ThreadPoolExecutor(1) as pool:
        while done < requests or len(seen) < WINDOWS:
            loading = pool.submit(load, server, "/enhance", body=jpeg(SMALL), seconds=WINDOW)
            watched_now = watched(server, loading)
            done += round(loading.result().requests_per_second * WINDOW)
            seen.append(statistics.median(watched_now))
    quarter = len(seen) // 4
    second, fourth = (statistics.median(seen[n * quarter :][:quarter]) for n in (1, 3))
    print(f"| {done} requests | MiB |")
    print("|---|---:|")
    print(f"| second quarter | {second / MEGA:.0f} |")
    print(f"| last quarter | {fourth / MEGA:.0f} |")
    print(f"| change | {100 * (fourth / second - 1):+.1f} % |")


def main(quick: bool) -> None:
    """Measures and prints."""
    with running("ours", jpeg(1)) as server:
        peak(server, QUICK_SECONDS if quick else SECONDS)
    with running("ours", jpeg(1)) as server:
        flat(server, QUICK_REQUESTS if quick else REQUESTS)


if __name__ == "__main__":
    main("--quick" in sys.argv)
