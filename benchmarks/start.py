"""From exec to ready: `python -m benchmarks.start [--quick]`.

Warm: the kernel's compiled loops are on disk, as after an install or in an image. Cold: they are
not. Imports are what `python -X importtime` says of the largest.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

import httpx
import psutil

from benchmarks.servers import COMMANDS
from tests.helpers.server import free_port

ROUNDS = 5
LARGEST = 6


def until_ready(cache: str | None) -> float:
    """Seconds from exec until /readyz says 200."""
    port = free_port()
    environment = os.environ | ({"NUMBA_CACHE_DIR": cache} if cache else {})
    begun = time.perf_counter()
    process = psutil.Popen(
        [sys.executable, *COMMANDS["ours"](port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                    return time.perf_counter() - begun
            except httpx.ConnectError:
                pass
            time.sleep(0.02)
    finally:
        process.terminate()
        process.wait()


def imports() -> list[tuple[float, str]]:
    """Seconds and names of the packages that take longest to import, with all they import."""
    command = [sys.executable, "-X", "importtime", "-c", "import app.cli.main"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    found = re.findall(r"\|\s+(\d+) \| +([a-z_]+)\n", told)
    return sorted(((int(micros) / 1e6, name) for micros, name in found), reverse=True)[:LARGEST]


def main(quick: bool) -> None:
    """Measures and prints."""
    rounds = 1 if quick else ROUNDS
    until_ready(None)  # files are in the page cache from now on
    warm = [until_ready(None) for _ in range(rounds)]
    cold = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as empty:
            cold.append(until_ready(empty))
    print("| from exec to ready | s |")
    print("|---|---:|")
    print(f"| compiled loops on disk | {statistics.median(warm):.1f} |")
    print(f"| to be compiled | {statistics.median(cold):.1f} |")
    for seconds, name in imports():
        print(f"| of which importing {name} | {seconds:.2f} |")


if __name__ == "__main__":
    main("--quick" in sys.argv)
