"""How long callers wait: `python -m benchmarks.latency [--quick]`.

One client alone; p99 against p50 at full load; a small photo behind four large ones; and how
late the event loop is under load, seen as the answers to `GET /livez` on a connection that is open.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
from loky import cpu_count

from benchmarks.photos import jpeg
from benchmarks.servers import Running, load, running

TURNS, QUICK_TURNS = 20, 6
SECONDS, QUICK_SECONDS = 15, 4
LARGE, SMALL = 24, 1  # megapixels
HEAD = 0.05  # seconds that the large ones come first
PROBE_EVERY = 0.01


def posted(client: httpx.Client, megapixels: float) -> tuple[float, dict[str, float]]:
    """Seconds that a photo took, and those of its stages."""
    begun = time.perf_counter()
    answer = client.post("/enhance", content=jpeg(megapixels))
    took = time.perf_counter() - begun
    answer.raise_for_status()
    parts = re.findall(r"(\w+);dur=([\d.]+)", answer.headers["server-timing"])
    return took, {stage: float(milliseconds) / 1000 for stage, milliseconds in parts}


def alone(turns: int) -> None:
    """One client: against the stages on one core, of which the LUT is shared among all."""
    with running("ours", jpeg(1)) as server:
        p50 = load(server, "/enhance", body=jpeg(12), clients=1, seconds=max(2, turns // 4)).p50
    with running("ours", jpeg(1), cores=[0]) as server, client_of(server) as client:
        single = [posted(client, 12)[1] for _ in range(turns)]
    stages = {name: statistics.median(one[name] for one in single) for name in single[0]}
    least = sum(stages[name] for name in ("decode", "predict", "encode"))
    least += stages["apply"] / cpu_count()
    print("| a lone client, 12 MP | ms | ratio |")
    print("|---|---:|---:|")
    for name in ("decode", "predict", "apply", "encode"):
        print(f"| {name}, one core | {1000 * stages[name]:.0f} | |")
    print(f"| sum, the LUT over {cpu_count()} cores | {1000 * least:.0f} | 1 |")
    print(f"| p50 of the whole request | {1000 * p50:.0f} | {p50 / least:.2f} |\n")


def loaded(server: Running, seconds: float) -> None:
    """Twice as many clients as cores: the tail, and the event loop meanwhile."""
    clients = 2 * cpu_count()
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(
            load, server, "/enhance", body=jpeg(12), clients=clients, seconds=seconds
        )
        probes = probed_until(server, loading)
    one = loading.result()
    print(f"| {clients} clients, 12 MP | ms |")
    print("|---|---:|")
    print(f"| p50 | {1000 * one.p50:.0f} |")
    print(f"| p99 | {1000 * one.p99:.0f} |")
    print(f"| p99 / p50 | {one.p99 / one.p50:.2f} |")
    for percent in (50, 99):
        quantile = statistics.quantiles(probes, n=100)[percent - 1]
        print(f"| GET /livez meanwhile, p{percent} | {1000 * quantile:.1f} |")
    print()


def probed_until(server: Running, loading: Future[object]) -> list[float]:
    """Seconds that the probe took, again and again."""
    probes = []
    with client_of(server) as client:
        while not loading.done():
            begun = time.perf_counter()
            client.get("/livez")
            probes.append(time.perf_counter() - begun)
            time.sleep(PROBE_EVERY)
    return probes


def overtaking(server: Running, turns: int) -> None:
    """A small photo that comes just behind four large ones."""
    small, first, last = [], [], []
    with ThreadPoolExecutor(4) as pool:
        for _ in range(turns):
            large = [pool.submit(timed, server, LARGE) for _ in range(4)]
            time.sleep(HEAD)
            small.append(timed(server, SMALL))
            times = sorted(future.result() for future in large)
            first.append(times[0])
            last.append(times[-1])
    rows = {f"{SMALL} MP behind them": small, "the first of them": first, "the last": last}
    print(f"| four photos of {LARGE} MP at once | p50 ms |")
    print("|---|---:|")
    for name, seconds in rows.items():
        print(f"| {name} | {1000 * statistics.median(seconds):.0f} |")


def timed(server: Running, megapixels: float) -> float:
    """Seconds that one photo took on a connection of its own."""
    with client_of(server) as client:
        return posted(client, megapixels)[0]


def client_of(server: Running) -> httpx.Client:
    """A client that waits."""
    return httpx.Client(base_url=server.url, timeout=60)


def main(quick: bool) -> None:
    """Measures and prints."""
    turns = QUICK_TURNS if quick else TURNS
    for megapixels in (SMALL, 12, LARGE):
        jpeg(megapixels)  # made before the clock runs
    alone(turns)
    with running("ours", jpeg(1)) as server:
        loaded(server, QUICK_SECONDS if quick else SECONDS)
        overtaking(server, turns // 3)


if __name__ == "__main__":
    main("--quick" in sys.argv)
