"""Print the peak memory under 16 concurrent worst-case images.

`python -m benchmarks.worst_case [KIND]`, where KIND is part of the name of some kinds of images.

Each kind of image is sent by 16 clients at the same time, one kind after the other to the same
server, against the memory limit of the deployment. A status of 503 or 504 is a correct response.
"""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import httpx
import imagecodecs
import numpy as np
from PIL import Image

from benchmarks.photos import make_jpeg
from benchmarks.servers import RunningServer, run_server

CLIENTS = 16
SIDE = 7700  # of a square with 59 megapixels
WATCH_EVERY = 0.05  # seconds
DEPLOYMENT = Path(__file__).parent.parent / "deploy" / "k8s" / "base" / "deployment.yaml"


def main(kind: str = "") -> None:
    """Send every kind whose name contains `kind`, and print the peak of each."""
    limit = memory_limit()
    print(f"| {CLIENTS} clients send | statuses | peak, MiB | of the limit |")
    print("|---|---|---:|---:|")
    with run_server("clut-enhance", make_jpeg(1)) as server:
        print_row("nothing", "", memory_of(server), limit)
        for name, (path, make) in KINDS.items():
            if kind not in name:
                continue
            statuses, peak = send_at_once(server, path, make())
            text = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
            print_row(name, text, peak, limit)


def print_row(name: str, statuses: str, peak: int, limit: int) -> None:
    """Print a row of the table."""
    print(f"| {name} | {statuses} | {peak >> 20} | {100 * peak / limit:.0f} % |", flush=True)


def send_at_once(server: RunningServer, path: str, body: bytes) -> tuple[Counter[int], int]:
    """Send a body from all clients; return the statuses, and the peak memory in bytes."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        url = server.url + path
        futures = [pool.submit(httpx.post, url, content=body, timeout=120) for _ in range(CLIENTS)]
        peak = 0
        while not all(future.done() for future in futures):
            peak = max(peak, memory_of(server))
            time.sleep(WATCH_EVERY)
    return Counter(future.result().status_code for future in futures), peak


def memory_of(server: RunningServer) -> int:
    """Return the resident bytes of the process tree, with shared pages counted once."""
    total = 0
    for process in (server.process, *server.process.children(recursive=True)):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            total += 1024 * int(re.findall(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)[0])
    return total


def memory_limit() -> int:
    """Return the memory limit of the container, in bytes."""
    (gibibytes,) = re.findall(r"limits: .*memory: (\d+)Gi", DEPLOYMENT.read_text())
    return int(gibibytes) << 30


def png_16bit() -> bytes:
    """Make a PNG of 16 bits with alpha that is small as a file."""
    row = np.linspace(0, 65535, SIDE).astype(np.uint16)
    return bytes(
        imagecodecs.png_encode(np.broadcast_to(row[:, None, None], (SIDE, SIDE, 4)).copy())
    )


def webp_alpha() -> bytes:
    """Make a WebP with alpha, of blocks in random colours: one of a single colour is rejected."""
    block, across = 8, 100
    colours = np.random.default_rng(0).integers(0, 256, (across, across, 4), np.uint8)
    tile = colours.repeat(block, axis=0).repeat(block, axis=1)
    image = np.tile(tile, (SIDE // len(tile) + 1, SIDE // len(tile) + 1, 1))[:SIDE, :SIDE]
    return bytes(imagecodecs.webp_encode(np.ascontiguousarray(image), level=60))


def jpeg_cmyk() -> bytes:
    """Make a CMYK JPEG."""
    target = BytesIO()
    Image.new("CMYK", (10_000, 10_000), (10, 20, 30, 40)).save(target, "JPEG")
    return target.getvalue()


def jpeg_large() -> bytes:
    """Make an ordinary JPEG of the most pixels that are accepted."""
    target = BytesIO()
    Image.new("RGB", (10_000, 10_000), "teal").save(target, "JPEG")
    return target.getvalue()


KINDS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "JPEG, 24 MP": ("/enhance", lambda: make_jpeg(24)),
    "JPEG, 100 MP, reduced by a pixel": ("/enhance?max_side=9999", jpeg_large),
    "JPEG, 100 MP, to AVIF": ("/enhance?format=avif", jpeg_large),
    "JPEG, CMYK, 100 MP": ("/enhance", jpeg_cmyk),
    "WebP with alpha, 59 MP": ("/enhance", webp_alpha),
    "PNG, 16 bits, alpha, 59 MP, reduced by a pixel": (f"/enhance?max_side={SIDE - 1}", png_16bit),
    "LUT of 129 points": ("/lut?size=129&format=3dl", lambda: make_jpeg(1)),
}

if __name__ == "__main__":
    main(*sys.argv[1:])
