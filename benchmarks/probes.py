"""Times of start, probes under full load, and shutdown: `python -m benchmarks.probes`.

64 clients, the maximum in flight, send an image of 12 MP repeatedly, while another client requests
/livez, /readyz and /metrics. The timeouts of the probes in deploy/k8s follow from these figures.
The load generator runs on the same cores.
"""

from __future__ import annotations

import signal
import statistics
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from time import perf_counter, sleep

import httpx

from benchmarks.photos import make_jpeg
from tests.helpers.server import PATIENCE, PROGRAM, Server, serving

CLIENTS = 64
PROBES = ("/livez", "/readyz", "/metrics")
SECONDS, PAUSE = 40.0, 0.05  # the pause between probes keeps their own load low


@contextmanager
def keep_loaded(server: Server) -> Iterator[None]:
    """Keep the maximum of requests in flight, and print their statuses."""
    body, stop = make_jpeg(12), Event()

    def client() -> Counter[int]:
        statuses: Counter[int] = Counter()
        while not stop.is_set():
            statuses[server.client.post("/enhance", content=body).status_code] += 1
        return statuses

    with ThreadPoolExecutor(CLIENTS) as clients:
        running = [clients.submit(client) for _ in range(CLIENTS)]
        try:
            yield
        finally:
            stop.set()
    print("responses to POST /enhance:", dict(sum((it.result() for it in running), Counter())))


def measure_probes(server: Server) -> dict[str, list[float]]:
    """Return the milliseconds of each response, by probe."""
    times: dict[str, list[float]] = {path: [] for path in PROBES}
    with httpx.Client(base_url=server.client.base_url, timeout=PATIENCE) as probe:
        end = perf_counter() + SECONDS
        while perf_counter() < end:
            for path in PROBES:
                begun = perf_counter()
                probe.get(path).raise_for_status()
                times[path].append((perf_counter() - begun) * 1000)
            sleep(PAUSE)
    return times


def main() -> None:
    """Print a table."""
    begun = perf_counter()
    with serving(program=PROGRAM, LOG_REQUESTS=False) as server:
        print(f"ready after {perf_counter() - begun:.1f} s")
        with httpx.Client(
            base_url=server.client.base_url,
            timeout=PATIENCE,
            limits=httpx.Limits(max_connections=None),
        ) as many:
            loaded = Server(server.process, many, server.port)
            with keep_loaded(loaded):
                times = measure_probes(server)
        print("| probe | median ms | p99 ms | maximum ms | requests |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for path, taken in times.items():
            median, p99 = statistics.median(taken), statistics.quantiles(taken, n=100)[98]
            print(f"| {path} | {median:.1f} | {p99:.0f} | {max(taken):.0f} | {len(taken)} |")
        begun = perf_counter()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(PATIENCE)
        print(f"exit after {perf_counter() - begun:.1f} s, idle")


if __name__ == "__main__":
    main()
