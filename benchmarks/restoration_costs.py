"""Time and memory of `restore` and `upscale`.

    python -m benchmarks.restoration_costs [--mulut FOLDER]

Prints Markdown tables: seconds of one core for each megapixel of the result, the shortest of some
runs; and the peak of the resident memory that enlarging the largest image adds to a server and its
processes, beside the bytes that admission charges. `--mulut FOLDER` adds the tables of MuLUT x4.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import process_time
from typing import Any

import httpx
import numpy as np

from app.imaging.probe import probe
from app.policies import STORE, Limits
from app.restoration.apply import clean, upscale
from app.restoration.cleaning import Damage
from app.restoration.store import read_restorers
from app.serving.options import EnhanceOptions
from app.serving.restoration import output_memory, plan_enlargement
from benchmarks.photos import make_jpeg
from benchmarks.restoration import Bytes, compress, read, run_serially
from benchmarks.restoration_upscaling import enlarge, read_published
from benchmarks.servers import RunningServer, run_server

SIDE = 1024  # of the result of which the time is measured
RUNS = 5
WATCH_EVERY = 0.02
MEGA = 2**20
PATIENT = os.environ | {"CLUT_ADMISSION_DEADLINE": "300"}  # seconds; the machine may be busy


def measure_time(folder: Path | None) -> None:
    """Print the time of each model."""
    restorers = read_restorers(STORE)
    pixels = read(make_jpeg(12))[:SIDE, :SIDE]
    print("| | s a megapixel |\n| --- | ---: |")

    def report(name: str, run: Callable[[], Any]) -> None:
        run()  # compile
        seconds = []
        for _ in range(RUNS):
            begin = process_time()
            result: Bytes = run()
            seconds.append(process_time() - begin)
        print(f"| {name} | {min(seconds) / (result.size / 3e6):.3f} |", flush=True)

    def restore(damage: Damage) -> Bytes:
        found = pixels.copy()
        for planes, model in restorers.cleaners.for_damage(damage):
            clean(found, planes, model, 1.0, run_serially)
        return found

    report("restore, JPEG: luma", lambda: restore(Damage(50.0, 0.0)))
    report("restore, noise: luma and chroma", lambda: restore(Damage(None, 6.0)))
    for scale in (2, 4):
        found = restorers.find(scale)
        assert found is not None
        small, model = pixels[: SIDE // scale, : SIDE // scale], found.model
        report(f"upscale={scale}", lambda: upscale(small, model, scale, run_serially))  # noqa: B023
    if folder is not None:
        method = enlarge(read_published(folder), 4)
        report("MuLUT x4", lambda: method(pixels[: SIDE // 4, : SIDE // 4], None))


def measure_memory() -> None:
    """Print what enlarging the image with the largest result takes."""
    print("\n| | image, MP | result, MP | MiB charged | MiB of peak |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for factor in (4, 3, 2):
        side = int((Limits().max_pixels / factor**2) ** 0.5)
        pixels = read(make_jpeg(12))
        repeats = -(-side // min(pixels.shape[:2]))
        body = compress(np.tile(pixels, (repeats, repeats, 1))[:side, :side], 90)
        source, options = probe(body, Limits()), EnhanceOptions(upscale=factor)
        enlargement = plan_enlargement(read_restorers(STORE), factor)
        result = output_memory(source, options, source.format, enlargement)
        with run_server("clut-enhance", make_jpeg(1), PATIENT) as server:
            peak = watch(server, body, factor)
        cells = (side**2, (factor * side) ** 2)
        sizes = " | ".join(f"{it / 1e6:.1f}" for it in cells)
        charged = max(source.peak_bytes, result)
        print(
            f"| upscale={factor} | {sizes} | {charged / MEGA:.0f} | {peak / MEGA:.0f} |", flush=True
        )


def watch(server: RunningServer, body: bytes, factor: int) -> int:
    """Return the memory that a request adds to a server at its peak."""
    url = f"{server.url}/enhance?upscale={factor}&restore=auto"
    base = server.memory
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(httpx.post, url, content=body, timeout=300)
        most = base
        while not answer.done():
            most = max(most, server.memory)
            time.sleep(WATCH_EVERY)
    answer.result().raise_for_status()
    return most - base


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mulut", type=Path, help="folder of the tables of MuLUT x4")
    options: Any = parser.parse_args()
    measure_time(options.mulut)
    measure_memory()


if __name__ == "__main__":
    main()
