"""The service under overload, with clients that disconnect, and in the long run.

    python -m benchmarks.reliability overload [SECONDS]
    python -m benchmarks.reliability disconnects [SECONDS]
    python -m benchmarks.reliability soak [REQUESTS]

Each command prints the figures of docs/reliability.md. The server has half of the cores, the
clients have the others. An observer in a process of its own measures the time of rejections and
probes, since the clients of the overload wait for each other as well.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from benchmarks.photos import make_jpeg
from tests.helpers.server import PROGRAM, Server, serving

OVERLOAD = 10  # times capacity
MEGAPIXELS, DISCONNECTING_MEGAPIXELS = (12, 3), 3
PERIODS, SHORTER = 5, 6  # number of further periods, and how many times shorter they are
CAPACITY_SECONDS, CLIENTS = 12.0, 8
OBSERVED = 10.0  # requests per second of the observer


@dataclass
class Outcomes:
    """The results of requests.

    Attributes:
        seconds: by status; 0 is a broken connection.
        completed: times of the responses with status 200, on the clock of all processes.
        without_retry_after: number of 503 without Retry-After.
        retry_after: values of Retry-After, in seconds.
    """

    seconds: dict[int, list[float]] = field(default_factory=dict)
    completed: list[float] = field(default_factory=list)
    without_retry_after: int = 0
    retry_after: set[int] = field(default_factory=set)

    def add(self, status: int, seconds: float) -> None:
        """Count a request."""
        self.seconds.setdefault(status, []).append(seconds)
        if status == 200:
            self.completed.append(time.monotonic())

    def count(self, status: int) -> int:
        """Return the number of requests with a status."""
        return len(self.seconds.get(status, []))

    def join(self, other: Outcomes) -> None:
        """Add the counts of other results."""
        for status, seconds in other.seconds.items():
            self.seconds.setdefault(status, []).extend(seconds)
        self.completed += other.completed
        self.without_retry_after += other.without_retry_after
        self.retry_after |= other.retry_after


async def request(
    port: int, method: str, path: str, body: bytes = b"", hang_up: float = 0
) -> bytes:
    """Send a request on its own connection, with `Expect: 100-continue` if it has a body.

    Args:
        port: the port of the server.
        method: the method.
        path: the path and query.
        body: the body.
        hang_up: seconds after which the client disconnects; 0 waits for the response.

    Returns:
        The response, or nothing if the client has disconnected before.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**26)
    try:
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        if body:
            head += f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n"
        writer.write(head.encode() + b"\r\n")
        first = await reader.readline() if body else b""
        if b" 100 " in first:
            await reader.readline()
            writer.write(body)
            first = b""
        if not hang_up:
            return first + await reader.read()
        try:
            async with asyncio.timeout(hang_up):
                return first + await reader.read()
        except TimeoutError:
            return b""
    finally:
        writer.transport.abort()


async def time_request(
    outcomes: Outcomes, port: int, method: str, path: str, body: bytes = b""
) -> None:
    """Send a request and count it."""
    begun = time.monotonic()
    try:
        response = await request(port, method, path, body)
        status = int(response.split(b" ", 2)[1])
    except (OSError, IndexError):
        response, status = b"", 0
    outcomes.add(status, time.monotonic() - begun)
    if status == 503:
        header = re.search(rb"retry-after: (\d+)", response)
        if header:
            outcomes.retry_after.add(int(header[1]))
        else:
            outcomes.without_retry_after += 1


async def measure_capacity(port: int, photo: bytes, seconds: float) -> float:
    """Return the requests per second of a few clients in a closed loop."""
    outcomes = Outcomes()
    begun = time.monotonic()
    end = begun + seconds

    async def client() -> None:
        while time.monotonic() < end:
            await time_request(outcomes, port, "POST", "/enhance", body=photo)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return outcomes.count(200) / (time.monotonic() - begun)


async def send_at_rate(
    port: int, photo: bytes, rate: float, seconds: float
) -> tuple[Outcomes, Outcomes]:
    """Send requests at a fixed rate, and probes at the same time."""
    outcomes, probes = Outcomes(), Outcomes()
    begun = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
            tasks.create_task(time_request(outcomes, port, "POST", "/enhance", body=photo))
            if number % max(1, int(rate / 5)) == 0:
                probe = "/readyz" if number % 2 else "/livez"
                tasks.create_task(time_request(probes, port, "GET", probe))
    return outcomes, probes


async def overload(server: Server, seconds: float) -> None:
    """Send ten times the capacity, for one long and several short periods."""
    periods = [seconds, *[seconds / SHORTER] * PERIODS]
    with ProcessPoolExecutor(1, get_context("spawn")) as processes:
        for megapixels in MEGAPIXELS:
            await overload_size(server.port, megapixels, periods, processes)


async def overload_size(
    port: int, megapixels: float, periods: list[float], processes: ProcessPoolExecutor
) -> None:
    """Measure the goodput of each period, relative to the capacity before and after it."""
    photo, loop = make_jpeg(megapixels), asyncio.get_running_loop()
    sent, probes, goodputs = Outcomes(), Outcomes(), list[float]()
    seen, probes_seen = Outcomes(), Outcomes()
    before = await measure_capacity(port, photo, CAPACITY_SECONDS)
    print(f"\n{megapixels} MP\ncapacity: {before:.2f} requests/s", flush=True)
    for seconds in periods:
        observing = loop.run_in_executor(processes, observe, port, photo, seconds)
        begun = time.monotonic()
        outcomes, probed = await send_at_rate(port, photo, OVERLOAD * before, seconds)
        observed, probes_observed = await observing
        # Responses after the end of the period are sent without the load.
        completed = outcomes.completed + observed.completed
        during = sum(it <= begun + seconds for it in completed) / seconds
        after = await measure_capacity(port, photo, CAPACITY_SECONDS)
        goodputs.append(during / ((before + after) / 2))
        print(f"{seconds:.0f} s: goodput {during:.2f} requests/s", end="", flush=True)
        print(f", {goodputs[-1]:.0%} of capacity; capacity after: {after:.2f}", flush=True)
        before = after
        sent.join(outcomes)
        probes.join(probed)
        seen.join(observed)
        probes_seen.join(probes_observed)
    print(f"goodput: {statistics.median(goodputs):.0%} of capacity in the median")
    print(f"rejected, by the observer: {_percentiles(seen.seconds.get(503, [0.0]))}")
    print(f"probes, by the observer: {_percentiles(probes_seen.seconds.get(200, [0.0]))}")
    sent.join(seen)
    probes.join(probes_seen)
    report(sent, probes)


def report(outcomes: Outcomes, probes: Outcomes) -> None:
    """Print the results of all requests and probes."""
    rejected, completed = outcomes.seconds.get(503, [0.0]), outcomes.seconds.get(200, [0.0])
    print(f"requests: {sum(map(len, outcomes.seconds.values()))}")
    print(f"status 200: {len(completed)}, in {_percentiles(completed)}")
    print(f"status 503: {len(rejected)}, in {_percentiles(rejected)}")
    print(f"Retry-After: {min(outcomes.retry_after)} to {max(outcomes.retry_after)} s")
    print(f"without Retry-After: {outcomes.without_retry_after}")
    other = {k: len(v) for k, v in outcomes.seconds.items() if k not in {200, 503}}
    print(f"other results: {other or 'none'}")
    print(f"probes: {probes.count(200)} of {sum(map(len, probes.seconds.values()))} were 200")


def observe(port: int, photo: bytes, seconds: float) -> tuple[Outcomes, Outcomes]:
    """Send few requests and probes during the overload."""
    return asyncio.run(send_at_rate(port, photo, OBSERVED, seconds))


def _percentiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    at = {q: 1000 * ordered[int(q / 100 * (len(ordered) - 1))] for q in (50, 99, 100)}
    return f"{at[50]:.0f} ms (median), {at[99]:.0f} ms (p99), {at[100]:.0f} ms (maximum)"


def read_cpu_seconds(server: Server) -> float:
    """Read the CPU seconds of the server."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def disconnects(server: Server, seconds: float) -> None:
    """Print the CPU time with and without every other client disconnecting."""
    photo, count = make_jpeg(DISCONNECTING_MEGAPIXELS), int(seconds * 8)
    await measure_capacity(server.port, photo, 3)
    for share in (0, 2):
        before = read_cpu_seconds(server)
        work = [
            request(
                server.port, "POST", "/enhance", photo, hang_up=0.3 if share and n % share else 0
            )
            for n in range(count)
        ]
        responses = await asyncio.gather(*work)
        completed = sum(b" 200 " in response[:20] for response in responses)
        used = read_cpu_seconds(server) - before
        clients = "every other client disconnects after 0.3 s" if share else "all clients wait"
        print(f"{count} requests, {clients}: {completed} completed, {used:.1f} s of CPU")


def read_resources(server: Server) -> tuple[int, int, int]:
    """Return the memory in MB, the file descriptors and the threads."""
    process = Path(f"/proc/{server.process.pid}")
    memory = int((process / "status").read_text().split("VmRSS:")[1].split()[0]) // 1024
    return memory, len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))


async def soak(server: Server, requests: int) -> None:
    """Send requests of all kinds, and print what must not grow."""
    chance = random.Random(0)  # noqa: S311 -- repeatable, not secret
    photos = [make_jpeg(megapixels) for megapixels in (0.3, 1, 3)]
    kinds: list[Callable[[], tuple[str, str, bytes, float]]] = [
        lambda: ("POST", "/enhance", chance.choice(photos), 0),
        lambda: (
            "POST",
            f"/enhance?format={chance.choice(['webp', 'png'])}&max_side=400",
            photos[0],
            0,
        ),
        lambda: ("POST", "/lut?size=17", chance.choice(photos), 0),
        lambda: ("POST", "/enhance", chance.choice(photos)[: chance.randrange(20_000)], 0),
        lambda: ("POST", "/enhance?strength=2", photos[0], 0),
        lambda: ("POST", "/enhance", b"not a photo", 0),
        lambda: ("GET", f"/no/such/path/{chance.random()}", b"", 0),
        lambda: ("GET", f"/lut/{chance.random()}", b"", 0),
        lambda: ("POST", "/enhance", photos[2], chance.random() * 0.1),
    ]
    statuses: Counter[str] = Counter()
    print("| requests | memory, MB | descriptors | threads | metric series |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    done = 0
    for step in range(11):
        while done < requests * step // 10:
            batch = [chance.choice(kinds)() for _ in range(8)]
            sent = (request(server.port, m, p, body, hang) for m, p, body, hang in batch)
            for response in await asyncio.gather(*sent):
                statuses[response[9:12].decode() or "disconnected"] += 1
            done += len(batch)
        series = (await request(server.port, "GET", "/metrics")).count(b"\n")
        print(f"| {done} | {' | '.join(map(str, read_resources(server)))} | {series} |", flush=True)
    print("\nstatuses:", ", ".join(f"{status} × {n}" for status, n in sorted(statuses.items())))


def main() -> None:
    """Run the command of the arguments."""
    what, amount = sys.argv[1], float((sys.argv[2:] or ["0"])[0])
    cores = sorted(os.sched_getaffinity(0))
    half = (len(cores) + 1) // 2
    os.sched_setaffinity(0, cores[:half])  # the server inherits it
    with serving(Path("reliability.log"), program=PROGRAM) as server:
        os.sched_setaffinity(0, cores[half:] or cores)
        if what == "overload":
            asyncio.run(overload(server, amount or 120))
        elif what == "disconnects":
            asyncio.run(disconnects(server, amount or 8))
        else:
            asyncio.run(soak(server, int(amount or 20_000)))


if __name__ == "__main__":
    main()
