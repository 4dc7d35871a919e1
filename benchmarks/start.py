"""From exec to ready: `python -m benchmarks.start [--quick]`.

With the kernel cached on disk, as after the first start or in the image, and without. The imports
are the largest that `python -X importtime` prints.
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


def time_start(cache: str | None) -> float:
    """Return the seconds from exec until /readyz returns 200."""
    port = free_port()
    environment = os.environ | ({"NUMBA_CACHE_DIR": cache} if cache else {})
    begun = time.perf_counter()
    process = psutil.Popen(
        [sys.executable, *COMMANDS["clut-enhance"](port)],
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


def largest_imports() -> list[tuple[float, str]]:
    """Return seconds and names of the packages that take longest to import."""
    command = [sys.executable, "-X", "importtime", "-c", "import app.cli.main"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    found = re.findall(r"\|\s+(\d+) \| +([a-z_]+)\n", printed)
    return sorted(((int(micros) / 1e6, name) for micros, name in found), reverse=True)[:LARGEST]


def main(quick: bool) -> None:
    """Measure and print."""
    rounds = 1 if quick else ROUNDS
    time_start(None)  # fills the page cache
    warm = [time_start(None) for _ in range(rounds)]
    cold = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as empty:
            cold.append(time_start(empty))
    print("| from exec to ready | s |")
    print("|---|---:|")
    print(f"| kernel cached | {statistics.median(warm):.1f} |")
    print(f"| kernel to be compiled | {statistics.median(cold):.1f} |")
    for seconds, name in largest_imports():
        print(f"| importing {name} | {seconds:.2f} |")


if __name__ == "__main__":
    main("--quick" in sys.argv)
