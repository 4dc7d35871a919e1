"""Requests a second against the peers: `python -m benchmarks.service [--quick]`.

Four clients in a closed loop (wrk), JPEG in and out. All servers run the embedded network. They
take turns, one server at a time, in every round; the figures are medians of the rounds.
"""

from __future__ import annotations

import statistics
import sys

from benchmarks.photos import jpeg
from benchmarks.servers import COMMANDS, Load, load, running

SIZES = (1, 3, 12, 24)
ROUNDS, SECONDS = 3, 5
QUICK_ROUNDS, QUICK_SECONDS = 1, 2
SLOW = "FastAPI + grid_sample"  # asked only at 12 MP: a second a photo


def asked(name: str, megapixels: float) -> bool:
    """Whether a server is measured at a size."""
    return name != SLOW or megapixels == 12


def measured(rounds: int, seconds: float) -> dict[tuple[str, float], list[Load]]:
    """The loads of every round, by server and size."""
    loads: dict[tuple[str, float], list[Load]] = {}
    for _ in range(rounds):
        for name in COMMANDS:
            with running(name, jpeg(1)) as server:
                for megapixels in SIZES:
                    if asked(name, megapixels):
                        one = load(server, "/enhance", body=jpeg(megapixels), seconds=seconds)
                        loads.setdefault((name, megapixels), []).append(one)
    return loads


def report(loads: dict[tuple[str, float], list[Load]]) -> None:
    """Prints the table."""
    print("| MP | | requests/s | times ours | CPU ms | p50 ms | p99 ms | failed | wrk's cores |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|---:|")
    for megapixels in SIZES:
        for name in COMMANDS:
            if asked(name, megapixels):
                print(_row(loads, name, megapixels))


def _row(loads: dict[tuple[str, float], list[Load]], name: str, megapixels: float) -> str:
    def median(key: tuple[str, float], field: str) -> float:
        return statistics.median(getattr(one, field) for one in loads[key])

    own = median(("ours", megapixels), "requests_per_second")
    here = (name, megapixels)
    rate = median(here, "requests_per_second")
    return (
        f"| {megapixels} | {name} | {rate:.1f} | {own / rate:.2f} "
        f"| {1000 * median(here, 'server_cpu'):.0f} | {1000 * median(here, 'p50'):.0f} "
        f"| {1000 * median(here, 'p99'):.0f} | {sum(one.failed for one in loads[here])} "
        f"| {median(here, 'generator_share'):.2f} |"
    )


def main(quick: bool) -> None:
    """Measures and prints."""
    report(measured(QUICK_ROUNDS, QUICK_SECONDS) if quick else measured(ROUNDS, SECONDS))


if __name__ == "__main__":
    main("--quick" in sys.argv)
