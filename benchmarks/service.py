"""Requests per second compared with other servers: `python -m benchmarks.service [--quick]`.

Four clients in a closed loop (wrk), JPEG in and out. All servers run the embedded network. Each
round measures one server after the other; the figures are medians of the rounds.
"""

from __future__ import annotations

import statistics
import sys

from benchmarks.photos import make_jpeg
from benchmarks.servers import COMMANDS, Load, load, run_server

SIZES = (1, 3, 12, 24)
ROUNDS, SECONDS = 3, 5
QUICK_ROUNDS, QUICK_SECONDS = 1, 2
SLOW = "FastAPI with grid_sample"  # measured at 12 MP only: one second per image


def is_measured(name: str, megapixels: float) -> bool:
    """Return whether a server is measured at a size."""
    return name != SLOW or megapixels == 12


def measure(rounds: int, seconds: float) -> dict[tuple[str, float], list[Load]]:
    """Return the loads of all rounds, by server and size."""
    loads: dict[tuple[str, float], list[Load]] = {}
    for _ in range(rounds):
        for name in COMMANDS:
            with run_server(name, make_jpeg(1)) as server:
                for megapixels in SIZES:
                    if is_measured(name, megapixels):
                        one = load(server, "/enhance", body=make_jpeg(megapixels), seconds=seconds)
                        loads.setdefault((name, megapixels), []).append(one)
    return loads


def report(loads: dict[tuple[str, float], list[Load]]) -> None:
    """Print the table."""
    print("| MP | server | requests/s | relative | CPU ms | p50 ms | p99 ms | failed | wrk |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|---:|")
    for megapixels in SIZES:
        for name in COMMANDS:
            if is_measured(name, megapixels):
                print(_row(loads, name, megapixels))


def _row(loads: dict[tuple[str, float], list[Load]], name: str, megapixels: float) -> str:
    def median(key: tuple[str, float], field: str) -> float:
        return float(statistics.median(getattr(one, field) for one in loads[key]))

    own = median(("clut-enhance", megapixels), "requests_per_second")
    here = (name, megapixels)
    rate = median(here, "requests_per_second")
    return (
        f"| {megapixels} | {name} | {rate:.1f} | {own / rate:.2f} "
        f"| {1000 * median(here, 'server_cpu'):.0f} | {1000 * median(here, 'p50'):.0f} "
        f"| {1000 * median(here, 'p99'):.0f} | {sum(one.failed for one in loads[here])} "
        f"| {median(here, 'generator_share'):.2f} |"
    )


def main(quick: bool) -> None:
    """Measure and print."""
    report(measure(QUICK_ROUNDS, QUICK_SECONDS) if quick else measure(ROUNDS, SECONDS))


if __name__ == "__main__":
    main("--quick" in sys.argv)
