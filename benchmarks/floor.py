"""CPU seconds a 12 MP photo, against decoding and encoding the same JPEG by libjpeg-turbo.

Run `python -m benchmarks.floor`. The floor is one thread of another process that does nothing
else. Both are measured in turn, in every round; the figures are medians.
"""

from __future__ import annotations

import statistics
import sys
import time

import simplejpeg

from benchmarks.photos import jpeg
from benchmarks.servers import load, running

MEGAPIXELS = 12
ROUNDS, QUICK_ROUNDS, SECONDS, TURNS = 5, 1, 5, 10
QUALITY = 90


def floor() -> float:
    """CPU seconds of decoding and encoding."""
    body = jpeg(MEGAPIXELS)
    begun = time.thread_time()
    for _ in range(TURNS):
        simplejpeg.encode_jpeg(simplejpeg.decode_jpeg(body, "RGB"), QUALITY, "RGB", "420")
    return (time.thread_time() - begun) / TURNS


def main(quick: bool) -> None:
    """Prints a table."""
    body = jpeg(MEGAPIXELS)
    floors, ours = [], []
    with running("ours", body) as server:
        for _ in range(QUICK_ROUNDS if quick else ROUNDS):
            floors.append(floor())
            ours.append(load(server, "/enhance", body=body, seconds=SECONDS).server_cpu)
    ratios = [own / least for own, least in zip(ours, floors, strict=True)]
    print("| | CPU ms a photo | times the floor |")
    print("|---|---:|---:|")
    print(f"| libjpeg-turbo, decode and encode | {1000 * statistics.median(floors):.0f} | 1 |")
    milliseconds, ratio = 1000 * statistics.median(ours), statistics.median(ratios)
    print(f"| POST /enhance, all of it | {milliseconds:.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main("--quick" in sys.argv)
