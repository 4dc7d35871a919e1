"""CPU time per image relative to its codec: `python -m benchmarks.floor`.

The codec is libjpeg-turbo, which decodes and encodes the same JPEG of 12 MP on one thread of
another process. Each round measures both; the figures are medians.
"""

from __future__ import annotations

import statistics
import sys
import time

import simplejpeg

from benchmarks.photos import make_jpeg
from benchmarks.servers import load, run_server

MEGAPIXELS = 12
ROUNDS, QUICK_ROUNDS, SECONDS, TURNS = 5, 1, 5, 10
QUALITY = 90


def measure_codec() -> float:
    """Return the CPU seconds of decoding and encoding."""
    body = make_jpeg(MEGAPIXELS)
    begun = time.thread_time()
    for _ in range(TURNS):
        simplejpeg.encode_jpeg(simplejpeg.decode_jpeg(body, "RGB"), QUALITY, "RGB", "420")
    return (time.thread_time() - begun) / TURNS


def main(quick: bool) -> None:
    """Print the table."""
    body = make_jpeg(MEGAPIXELS)
    codecs, requests = [], []
    with run_server("clut-enhance", body) as server:
        for _ in range(QUICK_ROUNDS if quick else ROUNDS):
            codecs.append(measure_codec())
            requests.append(load(server, "/enhance", body=body, seconds=SECONDS).server_cpu)
    ratios = [own / least for own, least in zip(requests, codecs, strict=True)]
    print("| | CPU ms per image | relative |")
    print("|---|---:|---:|")
    print(f"| libjpeg-turbo, decode and encode | {1000 * statistics.median(codecs):.0f} | 1 |")
    milliseconds, ratio = 1000 * statistics.median(requests), statistics.median(ratios)
    print(f"| POST /enhance | {milliseconds:.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main("--quick" in sys.argv)
