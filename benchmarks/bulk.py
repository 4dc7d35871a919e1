"""A folder with each engine of `bulk` and with `enhance`: `python -m benchmarks.bulk [IMAGES]`.

Images of 3 MP from disk to disk, the start of all processes included. Ray starts a cluster on this
machine if there is none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.photos import make_jpeg

MEGAPIXELS = 3
ROUNDS = 2  # alternating; the faster one is printed


def time_command(command: list[str], target: Path) -> float:
    """Return the seconds of a command that writes to an empty folder."""
    shutil.rmtree(target, ignore_errors=True)
    begun = time.monotonic()
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.monotonic() - begun


def main(count: int) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source", Path(folder) / "target"
        source.mkdir()
        for number in range(count):
            (source / f"{number:04}.jpg").write_bytes(make_jpeg(MEGAPIXELS))
        app = [sys.executable, "-m", "app"]
        photos = map(str, sorted(source.iterdir()))
        commands = {
            "enhance": [*app, "enhance", *photos, "-o", str(target)],
            "bulk --engine local": [*app, "bulk", str(source), str(target), "--engine", "local"],
            "bulk --engine ray": [*app, "bulk", str(source), str(target), "--engine", "ray"],
        }
        best = dict.fromkeys(commands, float("inf"))
        for _ in range(ROUNDS):
            for name, command in commands.items():
                best[name] = min(best[name], time_command(command, target))
    print(f"| {count} images of {MEGAPIXELS} MP | s | images/s |")
    print("| --- | ---: | ---: |")
    for name, took in best.items():
        print(f"| {name} | {took:.1f} | {count / took:.1f} |")


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["200"])[0]))
