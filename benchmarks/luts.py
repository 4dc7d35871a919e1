"""LUTs a second: `python -m benchmarks.luts [--quick]`.

`POST /lut` against `POST /enhance` at 12 MP, four clients; and `GET /lut/{token}` of one token,
as it is and gzipped, with the server kept to one core (the generator has the other).
"""

from __future__ import annotations

import os
import statistics
import sys

import httpx

from benchmarks.photos import jpeg
from benchmarks.servers import Running, load, running

MEGAPIXELS = 12
ROUNDS, SECONDS = 5, 3


def predicted(server: Running, rounds: int) -> None:
    """Prints what predicting costs against enhancing."""
    body = jpeg(MEGAPIXELS)
    rates: dict[str, list[float]] = {"/enhance": [], "/lut": []}
    for _ in range(rounds):
        for path, seen in rates.items():
            seen.append(load(server, path, body=body, seconds=SECONDS).requests_per_second)
    ratio = statistics.median(
        lut / photo for photo, lut in zip(rates["/enhance"], rates["/lut"], strict=True)
    )
    for path, seen in rates.items():
        times = ratio if path == "/lut" else 1.0
        print(f"| POST {path}, {MEGAPIXELS} MP | {statistics.median(seen):.1f} | {times:.2f} |")


def recalled(server: Running, rounds: int) -> None:
    """Prints how often a token's LUT can be fetched from one core."""
    answer = httpx.post(f"{server.url}/lut", content=jpeg(1), timeout=60)
    path = f"/lut/{answer.headers['x-look']}"
    for name, headers in {"plain": {}, "gzip": {"Accept-Encoding": "gzip"}}.items():
        loads = [load(server, path, headers=headers, seconds=SECONDS) for _ in range(rounds)]
        rate = statistics.median(one.requests_per_second for one in loads)
        print(f"| GET /lut/TOKEN, {name}, one core | {rate:.0f} | |")


def main(quick: bool) -> None:
    """Measures and prints."""
    rounds = 1 if quick else ROUNDS
    print("| | requests/s | times POST /enhance |")
    print("|---|---:|---:|")
    quiet = os.environ | {"CLUT_LOG_REQUESTS": "False"}
    with running("ours", jpeg(1), quiet) as server:
        predicted(server, rounds)
    with running("ours", jpeg(1), quiet, cores=[0]) as server:
        recalled(server, rounds)


if __name__ == "__main__":
    main("--quick" in sys.argv)
