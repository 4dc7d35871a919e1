"""Capacity of fleets, simulate from measured costs: `python -m benchmarks.simulation OUT.png`.

The command measures the CPU time of images of several sizes with one real server. A discrete-event
simulation (benchmarks/fleet.py) then computes the latency of fleets. The command prints Markdown
tables and draws a plot.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import Any

import httpx
import matplotlib.pyplot as plt
from PIL import Image

from benchmarks.fleet import (
    ARRIVALS,
    CORES,
    MIX,
    UNBOUNDED,
    Cost,
    Result,
    compute_capacity,
    round_robin,
    simulate,
)
from benchmarks.photos import PHOTOS, QUALITY, SIZES, make_jpeg
from benchmarks.servers import RunningServer, run_server

LOADS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.1)  # shares of the capacity of the cores
PLANNED, GIB = 0.7, 4  # the load to plan for, and the memory of a replica
RATES = (10, 1_000, 100_000)  # per second
ROUNDS = 12
FLEETS: dict[str, dict[str, Any]] = {
    "1 replica": {},
    "2, round robin": {"replicas": 2, "balancer": round_robin},
    "2, least connections": {"replicas": 2},
    "10, round robin": {"replicas": 10, "balancer": round_robin},
    "10, least connections": {"replicas": 10},
}
LIMITS: dict[str, dict[str, Any]] = {
    "64 requests, budget of 200 MP": {},
    "64 requests, no budget": {"budget": UNBOUNDED},
    "no limit, budget of 200 MP": {"most": UNBOUNDED},
    "no limit, no budget": {"most": UNBOUNDED, "budget": UNBOUNDED},
}


def measure(server: RunningServer, megapixels: float) -> Cost:
    """Measure the cost of images of one size, one after the other."""
    body = make_jpeg(megapixels)
    lut, _ = measure_cpu(server, "/lut", body)
    total, responses = measure_cpu(server, "/enhance", body)
    # Wall time, so the minimum: other load only adds to it.
    decode = min(read_decode_time(response) for response in responses)
    return Cost(decode, total - decode, lut, len(body), len(responses[0].content))


def measure_cpu(
    server: RunningServer, path: str, body: bytes
) -> tuple[float, list[httpx.Response]]:
    """Return the CPU seconds per request, and the responses."""
    httpx.post(server.url + path, content=body, timeout=60)
    before = server.cpu_seconds
    responses = [httpx.post(server.url + path, content=body, timeout=60) for _ in range(ROUNDS)]
    return (server.cpu_seconds - before) / ROUNDS, responses


def read_decode_time(response: httpx.Response) -> float:
    """Return the seconds of decoding from Server-Timing."""
    return float(response.headers["server-timing"].split("decode;dur=")[1].split(",")[0]) / 1000


def measure_look(server: RunningServer) -> Cost:
    """Measure the cost of the LUT of an image that the client has reduced."""
    target = BytesIO()
    with Image.open(PHOTOS / "lake.jpg") as photo:
        photo.resize((256, 256)).save(target, "JPEG", quality=QUALITY)
    body = target.getvalue()
    seconds, responses = measure_cpu(server, "/lut?size=17", body)
    return Cost(0.0, seconds, seconds, len(body), int(responses[0].headers["content-length"]))


def print_row(name: str, cells: Iterable[object], *, head: bool = False) -> None:
    """Print a row of a Markdown table; the first row is the head."""
    texts = [str(cell) for cell in cells]
    print("\n" * head + f"| {name} |", " | ".join(texts), "|")
    if head:
        print("| --- |" + " --- |" * len(texts))


def print_costs(costs: dict[float, Cost], of_look: Cost) -> None:
    """Print the measured costs."""
    names = ("/enhance, CPU ms", "decoding, CPU ms", "/lut, CPU ms", "KB in", "KB out")
    print_row("MP", names, head=True)
    for size, it in costs.items():
        times = [f"{1000 * seconds:.0f}" for seconds in (it.total, it.decode, it.lut)]
        print_row(f"{size}", [*times, f"{it.received / 1000:.0f}", f"{it.sent / 1000:.0f}"])
    print(
        f"\na look of 17 points for 256 pixels: {1000 * of_look.total:.1f} CPU ms, "
        f"{of_look.received / 1000:.0f} KB in, {of_look.sent / 1000:.0f} KB out"
    )


def print_latencies(runs: dict[str, list[Result]]) -> None:
    """Print the latency and the requests in flight at each load."""
    loads = [f"{load:.0%}" for load in LOADS]
    print_row("p50 / p99, s (rejected)", loads, head=True)
    for name, result in runs.items():
        cells = [
            f"{it.quantile(50):.2f} / {it.quantile(99):.1f}{format_rejections(it)}" for it in result
        ]
        print_row(name, cells)
    print_row("requests in flight per replica", loads, head=True)
    for name, result in runs.items():
        print_row(name, [f"{it.in_flight:.1f}" for it in result])


def format_rejections(result: Result) -> str:
    """Return the share of rejected requests, if there are any."""
    return f" ({result.rejected / ARRIVALS:.1%})" if result.rejected else ""


def draw(runs: dict[str, list[Result]], output: Path) -> None:
    """Plot the 99th percentiles below the capacity of the cores."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, result in runs.items():
        style = "--" if "robin" in name else "-"
        axes.plot(
            LOADS[:-1], [it.quantile(99) for it in result[:-1]], style, marker=".", label=name
        )
    axes.set(xlabel="load, share of the capacity of the cores", ylabel="99th percentile, s")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.savefig(output, dpi=90)


def print_limits(costs: dict[float, Cost]) -> None:
    """Print the effect of the limits of one replica."""
    head = ("p50, s", "p99, s", "rejected", "maximum pixels in memory")
    print_row("one replica at 110 %", head, head=True)
    for name, options in LIMITS.items():
        it = simulate(costs, 1.1, **options)
        share = f"{it.rejected / ARRIVALS:.1%}"
        pixels = f"{it.highest / 1e6:.0f} MP"
        print_row(name, [f"{it.quantile(50):.2f}", f"{it.quantile(99):.1f}", share, pixels])


def print_fleets(costs: dict[float, Cost], mix: dict[float, float]) -> None:
    """Print the size of fleets for several rates."""
    head = ("replicas", "cores", "memory, GiB", "in, Gbit/s", "out, Gbit/s")
    print_row("images/s", head, head=True)
    for rate in RATES:
        replicas = ceil(rate / (PLANNED * compute_capacity(costs, mix)))
        sizes = [number * replicas for number in (1, CORES, GIB)]
        received = sum(share * costs[size].received for size, share in mix.items())
        sent = sum(share * costs[size].sent for size, share in mix.items())
        traffic = [f"{rate * 8e-9 * size:,.2f}" for size in (received, sent)]
        print_row(f"{rate:,}", [*(f"{size:,}" for size in sizes), *traffic])


def main(output: Path) -> None:
    """Measure, simulate, print and plot."""
    with run_server("clut-enhance", make_jpeg(1)) as server:
        costs = {size: measure(server, size) for size in SIZES}
        of_look = measure_look(server)
    print_costs(costs, of_look)
    rate = compute_capacity(costs)
    print(f"\nthe mix: {1000 * CORES / rate:.0f} CPU ms per image, {rate:.1f} images/s per replica")
    runs = {
        name: [simulate(costs, load, **options) for load in LOADS]
        for name, options in FLEETS.items()
    }
    print_latencies(runs)
    draw(runs, output)
    print_limits(costs)
    print_fleets(costs, MIX)
    print("\nlooks alone:")
    print_fleets({0: of_look}, {0: 1.0})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
