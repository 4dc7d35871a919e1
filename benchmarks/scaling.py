"""How the service scales: `python -m benchmarks.scaling OUT.png [--quick]`.

Requests per second and CPU time per image by pixels (four clients) and by clients (12 MP), on one
core and on all cores. The load generator shares the cores.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

from loky import cpu_count
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.photos import SIZES, make_jpeg
from benchmarks.servers import Load, load, run_server

CLIENTS = (1, 2, 4, 8, 16, 32, 64)
QUICK_SIZES, QUICK_CLIENTS = (1, 12), (1, 4)
SECONDS, QUICK_SECONDS = 3, 2
BUSY, LARGE = 4, 12  # clients, megapixels


def measure_by_cores(
    counts: Iterable[int], sizes: Iterable[float], seconds: float
) -> dict[int, list[Load]]:
    """Return the loads of every size, by the number of cores."""
    loads: dict[int, list[Load]] = {}
    for count in counts:
        with run_server("clut-enhance", make_jpeg(1), cores=list(range(count))) as server:
            loads[count] = [
                load(server, "/enhance", body=make_jpeg(size), clients=BUSY, seconds=seconds)
                for size in sizes
            ]
    return loads


def measure_by_clients(counts: Iterable[int], seconds: float) -> list[Load]:
    """Return the loads at 12 MP, by the number of clients."""
    with run_server("clut-enhance", make_jpeg(1)) as server:
        return [
            load(server, "/enhance", body=make_jpeg(LARGE), clients=count, seconds=seconds)
            for count in counts
        ]


def plot(axes: Axes, title: str, x: Iterable[float], lines: Mapping[str, Iterable[float]]) -> None:
    """Plot lines over x, both axes logarithmic."""
    for name, y in lines.items():
        axes.loglog(list(x), list(y), "o-", label=name)
    axes.set_title(title)
    axes.set_xticks(list(x), [f"{value:g}" for value in x])
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()


def main(out: Path, quick: bool) -> None:
    """Measure, print and plot."""
    sizes = QUICK_SIZES if quick else tuple(SIZES)
    clients = QUICK_CLIENTS if quick else CLIENTS
    seconds = QUICK_SECONDS if quick else SECONDS
    cores = sorted({1, cpu_count()})
    loads = measure_by_cores(cores, sizes, seconds)
    by_clients = measure_by_clients(clients, seconds)
    print("| MP | cores | requests/s | megapixels/s | CPU ms per image |")
    print("|---:|---:|---:|---:|---:|")
    for count in cores:
        for size, one in zip(sizes, loads[count], strict=True):
            rate, cpu = one.requests_per_second, 1000 * one.server_cpu
            print(f"| {size} | {count} | {rate:.1f} | {rate * size:.0f} | {cpu:.0f} |")
    print(f"\n| clients, {LARGE} MP | requests/s | p50 ms | p99 ms | rejected |")
    print("|---:|---:|---:|---:|---:|")
    for count, one in zip(clients, by_clients, strict=True):
        times = f"{1000 * one.p50:.0f} | {1000 * one.p99:.0f}"
        print(f"| {count} | {one.requests_per_second:.1f} | {times} | {one.failed} |")
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4.5), layout="constrained")
    rates = {
        f"{count} core{'s'[: count > 1]}": [it.requests_per_second for it in ones]
        for count, ones in loads.items()
    }
    plot(left, "requests/s by megapixels", sizes, rates)
    costs = {
        f"{count} core{'s'[: count > 1]}": [1000 * it.server_cpu for it in ones]
        for count, ones in loads.items()
    }
    plot(middle, "CPU ms per image by megapixels", sizes, costs)
    waits = {
        "p50 ms": [1000 * it.p50 for it in by_clients],
        "p99 ms": [1000 * it.p99 for it in by_clients],
        "requests/s": [it.requests_per_second for it in by_clients],
    }
    plot(right, f"{LARGE} MP by clients", clients, waits)
    figure.savefig(out, dpi=100)


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--quick" in sys.argv)
