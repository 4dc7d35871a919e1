"""Latency: `python -m benchmarks.latency [--quick]`.

One client; p50 and p99 at full load; a small image behind four large ones; and the delay of the
event loop under load, measured by `GET /livez` on an open connection.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
from loky import cpu_count

from benchmarks.photos import make_jpeg
from benchmarks.servers import Load, RunningServer, load, run_server

TURNS, QUICK_TURNS = 20, 6
SECONDS, QUICK_SECONDS = 15, 4
LARGE, SMALL = 24, 1  # megapixels
HEAD_START = 0.05  # seconds before the small image is sent
PROBE_EVERY = 0.01


def post(client: httpx.Client, megapixels: float) -> tuple[float, dict[str, float]]:
    """Send an image; return the seconds of the request and of its stages."""
    begun = time.perf_counter()
    response = client.post("/enhance", content=make_jpeg(megapixels))
    took = time.perf_counter() - begun
    response.raise_for_status()
    parts = re.findall(r"(\w+);dur=([\d.]+)", response.headers["server-timing"])
    return took, {stage: float(milliseconds) / 1000 for stage, milliseconds in parts}


def report_single_client(turns: int) -> None:
    """Print the latency of one client relative to the sum of the stages."""
    with run_server("clut-enhance", make_jpeg(1)) as server:
        p50 = load(
            server, "/enhance", body=make_jpeg(12), clients=1, seconds=max(2, turns // 4)
        ).p50
    with run_server("clut-enhance", make_jpeg(1), cores=[0]) as server, connect(server) as client:
        single = [post(client, 12)[1] for _ in range(turns)]
    stages = {name: statistics.median(one[name] for one in single) for name in single[0]}
    least = sum(stages[name] for name in ("decode", "predict", "encode"))
    least += stages["apply"] / cpu_count()
    print("| one client, 12 MP | ms | ratio |")
    print("|---|---:|---:|")
    for name in ("decode", "predict", "apply", "encode"):
        print(f"| {name}, one core | {1000 * stages[name]:.0f} | |")
    print(f"| sum, apply on {cpu_count()} cores | {1000 * least:.0f} | 1 |")
    print(f"| p50 of the request | {1000 * p50:.0f} | {p50 / least:.2f} |\n")


def report_full_load(server: RunningServer, seconds: float) -> None:
    """Print the latency with twice as many clients as cores, and that of probes."""
    clients = 2 * cpu_count()
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(
            load, server, "/enhance", body=make_jpeg(12), clients=clients, seconds=seconds
        )
        probes = probe_until(server, loading)
    one = loading.result()
    print(f"| {clients} clients, 12 MP | ms |")
    print("|---|---:|")
    print(f"| p50 | {1000 * one.p50:.0f} |")
    print(f"| p99 | {1000 * one.p99:.0f} |")
    print(f"| p99 / p50 | {one.p99 / one.p50:.2f} |")
    for percent in (50, 99):
        quantile = statistics.quantiles(probes, n=100)[percent - 1]
        print(f"| GET /livez at the same time, p{percent} | {1000 * quantile:.1f} |")
    print()


def probe_until(server: RunningServer, loading: Future[Load]) -> list[float]:
    """Return the seconds of each probe until the load ends."""
    probes = []
    with connect(server) as client:
        while not loading.done():
            begun = time.perf_counter()
            client.get("/livez")
            probes.append(time.perf_counter() - begun)
            time.sleep(PROBE_EVERY)
    return probes


def report_overtaking(server: RunningServer, turns: int) -> None:
    """Print the latency of a small image behind four large ones."""
    small, first, last = [], [], []
    with ThreadPoolExecutor(4) as pool:
        for _ in range(turns):
            large = [pool.submit(time_request, server, LARGE) for _ in range(4)]
            time.sleep(HEAD_START)
            small.append(time_request(server, SMALL))
            times = sorted(future.result() for future in large)
            first.append(times[0])
            last.append(times[-1])
    rows = {f"{SMALL} MP behind them": small, "the first of them": first, "the last": last}
    print(f"| four images of {LARGE} MP at once | p50 ms |")
    print("|---|---:|")
    for name, seconds in rows.items():
        print(f"| {name} | {1000 * statistics.median(seconds):.0f} |")


def time_request(server: RunningServer, megapixels: float) -> float:
    """Return the seconds of one request on its own connection."""
    with connect(server) as client:
        return post(client, megapixels)[0]


def connect(server: RunningServer) -> httpx.Client:
    """Return a client with a long timeout."""
    return httpx.Client(base_url=server.url, timeout=60)


def main(quick: bool) -> None:
    """Measure and print."""
    turns = QUICK_TURNS if quick else TURNS
    for megapixels in (SMALL, 12, LARGE):
        make_jpeg(megapixels)  # made before the clock runs
    report_single_client(turns)
    with run_server("clut-enhance", make_jpeg(1)) as server:
        report_full_load(server, QUICK_SECONDS if quick else SECONDS)
        report_overtaking(server, turns // 3)


if __name__ == "__main__":
    main("--quick" in sys.argv)
