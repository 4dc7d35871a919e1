"""How the service scales: `python -m benchmarks.scaling OUT.png [--quick]`.

Requests a second and CPU a photo, against pixels (four clients), against clients (12 MP), and on
one core and on all of them. The generator shares the cores.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

from loky import cpu_count
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.photos import SIZES, jpeg
from benchmarks.servers import Load, load, running

CLIENTS = (1, 2, 4, 8, 16, 32, 64)
QUICK_SIZES, QUICK_CLIENTS = (1, 12), (1, 4)
SECONDS, QUICK_SECONDS = 3, 2
BUSY, LARGE = 4, 12  # clients, megapixels


def by_cores(
    counts: Iterable[int], sizes: Iterable[float], seconds: float
) -> dict[int, list[Load]]:
    """Loads of every size, by the number of cores."""
    loads: dict[int, list[Load]] = {}
    for count in counts:
        with running("ours", jpeg(1), cores=list(range(count))) as server:
            loads[count] = [
                load(server, "/enhance", body=jpeg(size), clients=BUSY, seconds=seconds)
                for size in sizes
            ]
    return loads


def by_clients(counts: Iterable[int], seconds: float) -> list[Load]:
    """Loads at 12 MP, by the number of clients."""
    with running("ours", jpeg(1)) as server:
        return [
            load(server, "/enhance", body=jpeg(LARGE), clients=count, seconds=seconds)
            for count in counts
        ]


def plotted(axes: Axes, title: str, x: Iterable[float], lines: dict[str, Iterable[float]]) -> None:
    """Draws lines over x, both logarithmic."""
    for name, y in lines.items():
        axes.loglog(list(x), list(y), "o-", label=name)
    axes.set_title(title)
    axes.set_xticks(list(x), [f"{value:g}" for value in x])
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()


def main(out: Path, quick: bool) -> None:
    """Measures, prints and draws."""
    sizes = QUICK_SIZES if quick else tuple(SIZES)
    clients = QUICK_CLIENTS if quick else CLIENTS
    seconds = QUICK_SECONDS if quick else SECONDS
    cores = sorted({1, cpu_count()})
    loads = by_cores(cores, sizes, seconds)
    crowd = by_clients(clients, seconds)
    print("| MP | cores | requests/s | megapixels/s | CPU ms a photo |")
    print("|---:|---:|---:|---:|---:|")
    for count in cores:
        for size, one in zip(sizes, loads[count], strict=True):
            rate, cpu = one.requests_per_second, 1000 * one.server_cpu
            print(f"| {size} | {count} | {rate:.1f} | {rate * size:.0f} | {cpu:.0f} |")
    print(f"\n| clients, {LARGE} MP | requests/s | p50 ms | p99 ms | refused |")
    print("|---:|---:|---:|---:|---:|")
    for count, one in zip(clients, crowd, strict=True):
        rate = f"{one.requests_per_second:.1f} | {1000 * one.p50:.0f} | {1000 * one.p99:.0f}"
        print(f"| {count} | {rate} | {one.failed} |")
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4.5), layout="constrained")
    rates = {
        f"{count} core{'s'[: count > 1]}": [it.requests_per_second for it in ones]
        for count, ones in loads.items()
    }
    plotted(left, "requests/s by megapixels", sizes, rates)
    costs = {
        f"{count} core{'s'[: count > 1]}": [1000 * it.server_cpu for it in ones]
        for count, ones in loads.items()
    }
    plotted(middle, "CPU ms a photo by megapixels", sizes, costs)
    waits = {
        "p50 ms": [1000 * it.p50 for it in crowd],
        "p99 ms": [1000 * it.p99 for it in crowd],
        "requests/s": [it.requests_per_second for it in crowd],
    }
    plotted(right, f"{LARGE} MP by clients", clients, waits)
    figure.savefig(out, dpi=100)


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--quick" in sys.argv)
