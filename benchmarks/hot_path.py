"""The hot path against an earlier commit: `python -m benchmarks.hot_path [--quick] [COMMIT]`.

A server of each tree runs at the same time, and four clients (wrk) load them in turns, JPEG in and
out. Each round measures both servers, in alternating order, at each size. The figures are medians
of the rounds; the ratios are medians of the ratios within a round, with their quartiles.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.photos import make_jpeg
from benchmarks.servers import Load, RunningServer, load, run_server
from tests.helpers.paths import ROOT

BASELINE = "878ec6c"
SIZES = (1, 12)
ROUNDS, QUICK_ROUNDS, SECONDS = 15, 3, 4


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """Check a commit out in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), commit], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def measure(servers: list[RunningServer], rounds: int) -> dict[float, list[list[Load]]]:
    """Return, for each size, the load on each server in each round."""
    loads: dict[float, list[list[Load]]] = {size: [] for size in SIZES}
    for number in range(rounds):
        for size in SIZES:
            order = list(enumerate(servers))[:: 1 if number % 2 else -1]
            measured = {
                index: load(server, "/enhance", body=make_jpeg(size), seconds=SECONDS)
                for index, server in order
            }
            loads[size].append([measured[index] for index in range(len(servers))])
    return loads


def report(commit: str, loads: dict[float, list[list[Load]]]) -> None:
    """Print a Markdown table: what the current tree does relative to the commit."""
    print(f"| MP | | {commit} | now | ratio | quartiles | failed |")
    print("| ---: | --- | ---: | ---: | ---: | --- | ---: |")
    for size, rounds in loads.items():
        failed = sum(one.failed for pair in rounds for one in pair)
        for title, field, unit in (
            ("requests/s", "requests_per_second", 1),
            ("CPU ms", "server_cpu", 1000),
        ):
            pairs = [[unit * getattr(one, field) for one in pair] for pair in rounds]
            ratios = [now / before for before, now in pairs]
            before, now = (statistics.median(column) for column in zip(*pairs, strict=True))
            low, middle, high = statistics.quantiles(ratios, n=4)
            print(
                f"| {size} | {title} | {before:.1f} | {now:.1f} | {middle:.3f} "
                f"| {low:.3f} .. {high:.3f} | {failed} |"
            )


def main(commit: str, quick: bool) -> None:
    """Start both servers, measure and print."""
    with (
        checkout(commit) as tree,
        run_server("clut-enhance", make_jpeg(1), tree=tree) as before,
        run_server("clut-enhance", make_jpeg(1)) as now,
    ):
        report(commit, measure([before, now], QUICK_ROUNDS if quick else ROUNDS))


if __name__ == "__main__":
    names = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    main(names[0] if names else BASELINE, "--quick" in sys.argv)
