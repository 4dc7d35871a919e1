"""What a fleet takes: latency against load, simulated from measured service times.

Run `python -m benchmarks.simulation OUT.png`. First one real service tells what photographs of
several sizes cost it; then a discrete-event simulation (benchmarks/fleet.py) lets many more of
them arrive at replicas of it than this machine could. It prints Markdown tables and draws a
picture.
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
    Seen,
    capacity,
    round_robin,
    simulated,
)
from benchmarks.photos import PHOTOS, QUALITY, SIZES, jpeg
from benchmarks.servers import Running, running

LOADS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.1)  # parts of what the cores can do
PLANNED, GIB = 0.7, 4  # of a replica: the load to plan for, and its memory
RATES = (10, 1_000, 100_000)  # a second
ROUNDS = 12
FLEETS: dict[str, dict[str, Any]] = {
    "1 replica": {},
    "2, round robin": {"replicas": 2, "balancer": round_robin},
    "2, least connections": {"replicas": 2},
    "10, round robin": {"replicas": 10, "balancer": round_robin},
    "10, least connections": {"replicas": 10},
}
LIMITS = {
    "64 requests, budget of 200 MP": {},
    "64 requests, no budget": {"budget": UNBOUNDED},
    "no limit, budget of 200 MP": {"most": UNBOUNDED},
    "no limit, no budget": {"most": UNBOUNDED, "budget": UNBOUNDED},
}


def measured(server: Running, megapixels: float) -> Cost:
    """What a size costs, one photograph after the other."""
    body = jpeg(megapixels)
    lut, _ = spent(server, "/lut", body)
    total, answers = spent(server, "/enhance", body)
    # By the clock, so the least that was seen: neighbours only add to it.
    decode = min(decoding(answer) for answer in answers)
    return Cost(decode, total - decode, lut, len(body), len(answers[0].content))


def spent(server: Running, path: str, body: bytes) -> tuple[float, list[httpx.Response]]:
    """CPU seconds that a request costs, and the answers."""
    httpx.post(server.url + path, content=body, timeout=60)
    before = server.cpu_seconds
    answers = [httpx.post(server.url + path, content=body, timeout=60) for _ in range(ROUNDS)]
    return (server.cpu_seconds - before) / ROUNDS, answers


def decoding(answer: httpx.Response) -> float:
    """Seconds, by its Server-Timing."""
    return float(answer.headers["server-timing"].split("decode;dur=")[1].split(",")[0]) / 1000


def look(server: Running) -> Cost:
    """What the LUT costs of a photograph that its owner has scaled down."""
    target = BytesIO()
    with Image.open(PHOTOS / "lake.jpg") as photo:
        photo.resize((256, 256)).save(target, "JPEG", quality=QUALITY)
    body = target.getvalue()
    seconds, answers = spent(server, "/lut?size=17", body)
    return Cost(0.0, seconds, seconds, len(body), int(answers[0].headers["content-length"]))


def print_row(name: str, cells: Iterable[object], *, head: bool = False) -> None:
    """A row of a Markdown table; a table begins with its head."""
    texts = [str(cell) for cell in cells]
    print("\n" * head + f"| {name} |", " | ".join(texts), "|")
    if head:
        print("| --- |" + " --- |" * len(texts))


def print_costs(costs: dict[float, Cost], of_look: Cost) -> None:
    """What was measured."""
    names = ("/enhance, CPU ms", "of it decoding", "/lut, CPU ms", "KB in", "KB out")
    print_row("MP", names, head=True)
    for size, it in costs.items():
        times = [f"{1000 * seconds:.0f}" for seconds in (it.total, it.decode, it.lut)]
        print_row(f"{size}", [*times, f"{it.received / 1000:.0f}", f"{it.sent / 1000:.0f}"])
    print(
        f"\na look of 17 points for 256 pixels: {1000 * of_look.total:.1f} CPU ms, "
        f"{of_look.received / 1000:.0f} KB in, {of_look.sent / 1000:.0f} KB out"
    )


def print_latencies(runs: dict[str, list[Seen]]) -> None:
    """What callers, and autoscalers, see at each load."""
    loads = [f"{load:.0%}" for load in LOADS]
    print_row("p50 / p99, s (refused)", loads, head=True)
    for name, seen in runs.items():
        cells = [f"{it.quantile(50):.2f} / {it.quantile(99):.1f}{refusals(it)}" for it in seen]
        print_row(name, cells)
    print_row("photos in a replica", loads, head=True)
    for name, seen in runs.items():
        print_row(name, [f"{it.crowd:.1f}" for it in seen])


def refusals(seen: Seen) -> str:
    """Their share, if there were any."""
    return f" ({seen.refused / ARRIVALS:.1%})" if seen.refused else ""


def draw(runs: dict[str, list[Seen]], output: Path) -> None:
    """The 99th percentiles, below what the cores can do."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, seen in runs.items():
        style = "--" if "robin" in name else "-"
        axes.plot(LOADS[:-1], [it.quantile(99) for it in seen[:-1]], style, marker=".", label=name)
    axes.set(xlabel="load, part of what the cores can do", ylabel="99th percentile, s")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.savefig(output, dpi=90)


def print_limits(costs: dict[float, Cost]) -> None:
    """What the limits of one replica are for."""
    head = ("p50, s", "p99, s", "refused", "most pixels in memory")
    print_row("one replica at 110 %", head, head=True)
    for name, options in LIMITS.items():
        it = simulated(costs, 1.1, **options)
        share = f"{it.refused / ARRIVALS:.1%}"
        pixels = f"{it.highest / 1e6:.0f} MP"
        print_row(name, [f"{it.quantile(50):.2f}", f"{it.quantile(99):.1f}", share, pixels])


def print_fleets(costs: dict[float, Cost], mix: dict[float, float]) -> None:
    """What many photographs of a mix take."""
    head = ("replicas", "cores", "memory, GiB", "in, Gbit/s", "out, Gbit/s")
    print_row("a second", head, head=True)
    for rate in RATES:
        replicas = ceil(rate / (PLANNED * capacity(costs, mix)))
        sizes = [number * replicas for number in (1, CORES, GIB)]
        received = sum(share * costs[size].received for size, share in mix.items())
        sent = sum(share * costs[size].sent for size, share in mix.items())
        traffic = [f"{rate * 8e-9 * size:,.2f}" for size in (received, sent)]
        print_row(f"{rate:,}", [*(f"{size:,}" for size in sizes), *traffic])


def main(output: Path) -> None:
    """Measure, simulate, print, draw."""
    with running("ours", jpeg(1)) as server:
        costs = {size: measured(server, size) for size in SIZES}
        of_look = look(server)
    print_costs(costs, of_look)
    rate = capacity(costs)
    print(f"\nthe mix: {1000 * CORES / rate:.0f} CPU ms a photo, {rate:.1f} photos/s a replica")
    runs = {
        name: [simulated(costs, load, **options) for load in LOADS]
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
