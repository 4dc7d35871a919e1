"""How soon a replica is ready, answers its probes under full load, and is gone.

Run `python -m benchmarks.probes`. 64 clients, as many as are let in, send a 12 MP photograph again
and again, while another asks /livez, /readyz and /metrics in turn. Then SIGTERM. These are the
figures behind the probes in deploy/k8s. The load generator runs on the same cores.
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

from benchmarks.photos import jpeg
from tests.helpers.server import PATIENCE, Server, serving

CLIENTS = 64
PROBES = ("/livez", "/readyz", "/metrics")
SECONDS, PAUSE = 40.0, 0.05  # between probes, which are not to be the load


@contextmanager
def full_load(server: Server) -> Iterator[None]:
    """Keeps the house full, and says what that came to."""
    body, stop = jpeg(12), Event()

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
    print(
        "answers to photographs meanwhile:", dict(sum((it.result() for it in running), Counter()))
    )


def probed(server: Server) -> dict[str, list[float]]:
    """Milliseconds of each probe's answers."""
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
    with serving(LOG_REQUESTS=False) as server:
        print(f"ready after {perf_counter() - begun:.1f} s")
        with httpx.Client(
            base_url=server.client.base_url,
            timeout=PATIENCE,
            limits=httpx.Limits(max_connections=None),
        ) as many:
            crowded = Server(server.process, many, server.port)
            with full_load(crowded):
                times = probed(server)
        print(
            "| probe | median ms | p99 ms | longest ms | asked |\n| --- | --- | --- | --- | --- |"
        )
        for path, of_one in times.items():
            median, p99 = statistics.median(of_one), statistics.quantiles(of_one, n=100)[98]
            print(f"| {path} | {median:.1f} | {p99:.0f} | {max(of_one):.0f} | {len(of_one)} |")
        begun = perf_counter()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(PATIENCE)
        print(f"gone after {perf_counter() - begun:.1f} s, idle")


if __name__ == "__main__":
    main()
