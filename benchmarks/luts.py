"""LUTs per second: `python -m benchmarks.luts [--quick]`.

`POST /lut` and `POST /enhance` at 12 MP, four clients; and `GET /lut/{token}` of one token, plain
and compressed, with the server on one core and the load generator on the other.
"""

from __future__ import annotations

import os
import statistics
import sys

import httpx

from benchmarks.photos import make_jpeg
from benchmarks.servers import RunningServer, load, run_server

MEGAPIXELS = 12
ROUNDS, SECONDS = 5, 3


def report_prediction(server: RunningServer, rounds: int) -> None:
    """Print the rates of predicting a LUT and of enhancing."""
    body = make_jpeg(MEGAPIXELS)
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


def report_tokens(server: RunningServer, rounds: int) -> None:
    """Print the rate of responses to one token from one core."""
    response = httpx.post(f"{server.url}/lut", content=make_jpeg(1), timeout=60)
    path = f"/lut/{response.headers['x-look']}"
    for name, headers in {"plain": {}, "gzip": {"Accept-Encoding": "gzip"}}.items():
        loads = [load(server, path, headers=headers, seconds=SECONDS) for _ in range(rounds)]
        rate = statistics.median(one.requests_per_second for one in loads)
        print(f"| GET /lut/{{token}}, {name}, one core | {rate:.0f} | |")


def main(quick: bool) -> None:
    """Measure and print."""
    rounds = 1 if quick else ROUNDS
    print("| | requests/s | relative to POST /enhance |")
    print("|---|---:|---:|")
    quiet = os.environ | {"CLUT_LOG_REQUESTS": "False"}
    with run_server("clut-enhance", make_jpeg(1), quiet) as server:
        report_prediction(server, rounds)
    with run_server("clut-enhance", make_jpeg(1), quiet, cores=[0]) as server:
        report_tokens(server, rounds)


if __name__ == "__main__":
    main("--quick" in sys.argv)
