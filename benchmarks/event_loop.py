"""Latency of GET /livez while inputs arrive that used to hold up the event loop.

Run `python -m benchmarks.event_loop`. The bar is 100 ms under each input. The load generator runs
on the same cores; the first row, without any input, is the noise of the machine.
"""

from __future__ import annotations

import gzip
import multiprocessing
import os
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter, sleep

import httpx

from tests.helpers.server import PATIENCE, PROGRAM, Server, serving

SPAWN = multiprocessing.get_context("spawn")  # without the threads of this process
REPEATS = 4  # of each input
PAUSE = 0.01  # seconds between probes
FORM = "multipart/form-data; boundary=limit"
FIELD = b'--limit\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n--limit--\r\n'


def post(body: bytes, target: str = "/enhance", **headers: str) -> Callable[[httpx.Client], object]:
    """Return a function that posts a body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda client: client.post(target, content=body, headers=named)


def inputs() -> dict[str, Callable[[httpx.Client], object]]:
    """Return the inputs by their names."""
    return {
        "none": lambda _: sleep(1.0),
        "charset=punycode, name of 400 KB": post(
            FIELD % (b"a" * 400_000, b"x"), content_type=f"{FORM}; charset=punycode"
        ),
        "charset=punycode, value of 400 KB": post(
            FIELD % (b"x", b"a" * 400_000), content_type=f"{FORM}; charset=punycode"
        ),
        "charset=undefined": post(FIELD % (b"x", b"x"), content_type=f"{FORM}; charset=undefined"),
        "near-boundaries, 16 MB": post(b"\r\n--limi" * 2_000_000, content_type=FORM),
        "near-boundaries, 60 MB": post(b"\r\n--limi" * 7_500_000, content_type=FORM),
        "line breaks, 60 MB": post(FIELD % (b"file", b"\r\n" * 30_000_000), content_type=FORM),
        "Content-Type of 60 KB": post(b"x", content_type=FORM + ';"' * 30_000),
        "30,000 parameters": post(b"", "/enhance?" + "a&" * 30_000),
        "60 parameters of 1 KB": post(b"", "/enhance?" + ("a" * 1000 + "&") * 60),
        "gzip of 60 MB zeros": post(gzip.compress(bytes(60_000_000)), content_encoding="gzip"),
        "path of 60 KB": lambda client: client.get("/" + "a" * 60_000),
        "X-Forwarded-For of 60 KB": lambda client: client.get(
            "/models", headers={"X-Forwarded-For": "1," * 30_000}
        ),
    }


def probe(url: str, connection: Connection) -> None:
    """Probe /livez until a message arrives, then send the latencies in milliseconds."""
    times: list[float] = []
    with httpx.Client(base_url=url, timeout=PATIENCE) as client:
        client.get("/livez")
        connection.send("started")
        while not (times and connection.poll(PAUSE)):  # at least once, however short the call
            begin = perf_counter()
            client.get("/livez").raise_for_status()
            times.append((perf_counter() - begin) * 1000)
    connection.send(times)


def measure(server: Server, send: Callable[[], object]) -> list[float]:
    """Return the latencies of probes, which a process of its own sends, during a call."""
    here, there = SPAWN.Pipe()
    prober = SPAWN.Process(target=probe, args=(str(server.client.base_url), there))
    prober.start()
    here.recv()
    send()
    here.send("stop")
    times: list[float] = here.recv()
    prober.join()
    return times


def repeat(
    client: httpx.Client, send: Callable[[httpx.Client], object], times: int = REPEATS
) -> None:
    """Send an input several times."""
    for _ in range(times):
        send(client)


def main() -> None:
    """Print a table."""
    print("| input | median ms | longest ms |\n| --- | --- | --- |")
    with serving(Path(os.devnull), program=PROGRAM) as server:
        for name, send in inputs().items():
            print_row(name, measure(server, partial(repeat, server.client, send)))
    reader, writer = os.pipe()
    with serving(Path(f"/dev/fd/{writer}"), program=PROGRAM) as server:
        send = partial(repeat, server.client, lambda client: client.get("/models"), 3000)
        print_row("standard output not read, 3,000 requests", measure(server, send))
    os.close(reader)
    os.close(writer)


def print_row(name: str, times: list[float]) -> None:
    """Print one row of the table."""
    print(f"| {name} | {sorted(times)[len(times) // 2]:.1f} | {max(times):.1f} |", flush=True)


if __name__ == "__main__":
    main()
