"""What the service does under too much load, when callers hang up, and in the long run.

    python -m benchmarks.reliability overload [SECONDS]
    python -m benchmarks.reliability departures [SECONDS]
    python -m benchmarks.reliability soak [REQUESTS]

Each prints its figures. docs/reliability.md has those of the last run. The server has half of the
cores, and the callers the others, so that they do not take from what they measure. What a refusal
and a probe take is measured by a witness in a process of its own: the crowd's callers wait for one
another, too.
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
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from benchmarks.photos import make_jpeg
from tests.helpers.server import Server, serving

OVERLOAD = 10  # times capacity
MEGAPIXELS, DEPARTING_MEGAPIXELS = (12, 3), 3
SPELLS, SHORTER = 5, 6  # so many more spells, so many times shorter
CAPACITY_SECONDS, CALLERS = 12.0, 8
WITNESSED = 10.0  # requests a second


@dataclass
class Outcomes:
    """What became of requests.

    Attributes:
        seconds: by status; 0 is a connection that broke.
        answered: when, on the clock that all processes share, each 200 was there.
        without_retry_after: how many 503 made no promise.
        retry_after: what the others promised, in seconds.
    """

    seconds: dict[int, list[float]] = field(default_factory=dict)
    answered: list[float] = field(default_factory=list)
    without_retry_after: int = 0
    retry_after: set[int] = field(default_factory=set)

    def add(self, status: int, seconds: float) -> None:
        """Counts one."""
        self.seconds.setdefault(status, []).append(seconds)
        if status == 200:
            self.answered.append(time.monotonic())

    def count(self, status: int) -> int:
        """How many ended so."""
        return len(self.seconds.get(status, []))

    def join(self, other: Outcomes) -> None:
        """Counts what another has counted."""
        for status, seconds in other.seconds.items():
            self.seconds.setdefault(status, []).extend(seconds)
        self.answered += other.answered
        self.without_retry_after += other.without_retry_after
        self.retry_after |= other.retry_after


async def request(
    port: int, method: str, path: str, body: bytes = b"", hang_up: float = 0
) -> bytes:
    """One request on a connection of its own; the body goes when the server asks for it.

    Returns:
        the answer, or nothing if `hang_up` seconds had passed before.
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


async def timed(outcomes: Outcomes, port: int, *what: str, body: bytes = b"") -> None:
    """One request, counted."""
    begun = time.monotonic()
    try:
        answer = await request(port, *what, body=body)
        status = int(answer.split(b" ", 2)[1])
    except (OSError, IndexError):
        answer, status = b"", 0
    outcomes.add(status, time.monotonic() - begun)
    if status == 503:
        promise = re.search(rb"retry-after: (\d+)", answer)
        if promise:
            outcomes.retry_after.add(int(promise[1]))
        else:
            outcomes.without_retry_after += 1


async def capacity(port: int, photo: bytes, seconds: float) -> float:
    """Requests a second of a few callers who wait for each answer."""
    outcomes = Outcomes()
    begun = time.monotonic()
    end = begun + seconds

    async def caller() -> None:
        while time.monotonic() < end:
            await timed(outcomes, port, "POST", "/enhance", body=photo)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return outcomes.count(200) / (time.monotonic() - begun)


async def overloaded(
    port: int, photo: bytes, rate: float, seconds: float
) -> tuple[Outcomes, Outcomes]:
    """So many requests a second, whatever becomes of them; and health probes meanwhile."""
    outcomes, probes = Outcomes(), Outcomes()
    begun = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
            tasks.create_task(timed(outcomes, port, "POST", "/enhance", body=photo))
            if number % max(1, int(rate / 5)) == 0:
                probe = "/readyz" if number % 2 else "/livez"
                tasks.create_task(timed(probes, port, "GET", probe))
    return outcomes, probes


async def overload(server: Server, seconds: float) -> None:
    """Ten times what the service can do: for long at once, and in spells, as its pace changes."""
    spells = [seconds, *[seconds / SHORTER] * SPELLS]
    with ProcessPoolExecutor(1, get_context("spawn")) as processes:
        for megapixels in MEGAPIXELS:
            await overload_of(server.port, megapixels, spells, processes)


async def overload_of(
    port: int, megapixels: float, spells: list[float], processes: ProcessPoolExecutor
) -> None:
    """Each spell between two measurements of the capacity."""
    photo, loop = make_jpeg(megapixels), asyncio.get_running_loop()
    crowd, probes, goodputs = Outcomes(), Outcomes(), []
    seen, probes_seen = Outcomes(), Outcomes()
    before = await capacity(port, photo, CAPACITY_SECONDS)
    print(f"\n{megapixels} MP\ncapacity: {before:.2f} requests/s", flush=True)
    for seconds in spells:
        witnessing = loop.run_in_executor(processes, witness, port, photo, seconds)
        begun = time.monotonic()
        outcomes, probed = await overloaded(port, photo, OVERLOAD * before, seconds)
        witnessed, probes_witnessed = await witnessing
        # What is answered once nobody asks any more is answered without the load.
        answered = outcomes.answered + witnessed.answered
        during = sum(it <= begun + seconds for it in answered) / seconds
        after = await capacity(port, photo, CAPACITY_SECONDS)
        goodputs.append(during / ((before + after) / 2))
        print(f"{seconds:.0f} s: goodput {during:.2f} requests/s", end="", flush=True)
        print(f", {goodputs[-1]:.0%} of capacity; capacity after: {after:.2f}", flush=True)
        before = after
        crowd.join(outcomes)
        probes.join(probed)
        seen.join(witnessed)
        probes_seen.join(probes_witnessed)
    print(f"goodput: {statistics.median(goodputs):.0%} of capacity in the median")
    print(f"refused, by the witness: {_percentiles(seen.seconds.get(503, [0.0]))}")
    print(f"probes, by the witness: {_percentiles(probes_seen.seconds.get(200, [0.0]))}")
    crowd.join(seen)
    probes.join(probes_seen)
    report(crowd, probes)


def report(outcomes: Outcomes, probes: Outcomes) -> None:
    """What became of all requests and probes."""
    refused, answered = outcomes.seconds.get(503, [0.0]), outcomes.seconds.get(200, [0.0])
    print(f"asked for: {sum(map(len, outcomes.seconds.values()))}")
    print(f"answered with 200: {len(answered)}, in {_percentiles(answered)}")
    print(f"refused with 503: {len(refused)}, in {_percentiles(refused)}")
    print(f"Retry-After: {min(outcomes.retry_after)} to {max(outcomes.retry_after)} s")
    print(f"without Retry-After: {outcomes.without_retry_after}")
    other = {k: len(v) for k, v in outcomes.seconds.items() if k not in {200, 503}}
    print(f"any other outcome: {other or 'none'}")
    print(f"probes: {probes.count(200)} of {sum(map(len, probes.seconds.values()))} were 200")


def witness(port: int, photo: bytes, seconds: float) -> tuple[Outcomes, Outcomes]:
    """Few requests and probes among those of the crowd."""
    return asyncio.run(overloaded(port, photo, WITNESSED, seconds))


def _percentiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    at = {q: 1000 * ordered[int(q / 100 * (len(ordered) - 1))] for q in (50, 99, 100)}
    return f"{at[50]:.0f} ms (median), {at[99]:.0f} ms (p99), {at[100]:.0f} ms (slowest)"


def cpu_seconds(server: Server) -> float:
    """What the server has used of all cores."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def departures(server: Server, seconds: float) -> None:
    """A queue of which every other caller hangs up early: what their departure saves."""
    photo, count = make_jpeg(DEPARTING_MEGAPIXELS), int(seconds * 8)
    await capacity(server.port, photo, 3)
    for share in (0, 2):
        before = cpu_seconds(server)
        work = [
            request(
                server.port, "POST", "/enhance", photo, hang_up=0.3 if share and n % share else 0
            )
            for n in range(count)
        ]
        answers = await asyncio.gather(*work)
        answered = sum(b" 200 " in answer[:20] for answer in answers)
        used = cpu_seconds(server) - before
        who = "every other one hangs up after 0.3 s" if share else "all wait"
        print(f"{count} at once, {who}: {answered} answered, {used:.1f} s of CPU")


def resident(server: Server) -> tuple[int, int, int]:
    """Memory in MB, file descriptors, threads."""
    process = Path(f"/proc/{server.process.pid}")
    memory = int((process / "status").read_text().split("VmRSS:")[1].split()[0]) // 1024
    return memory, len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))


async def soak(server: Server, requests: int) -> None:
    """Requests of all kinds, for a long time: what must not grow."""
    chance = random.Random(0)  # noqa: S311 -- repeatable, not secret
    photos = [make_jpeg(megapixels) for megapixels in (0.3, 1, 3)]
    kinds = [
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
            for answer in await asyncio.gather(*sent):
                statuses[answer[9:12].decode() or "departed"] += 1
            done += len(batch)
        series = (await request(server.port, "GET", "/metrics")).count(b"\n")
        print(f"| {done} | {' | '.join(map(str, resident(server)))} | {series} |", flush=True)
    print("\nanswers:", ", ".join(f"{status} × {n}" for status, n in sorted(statuses.items())))


def main() -> None:
    """Runs what is asked for."""
    what, amount = sys.argv[1], float((sys.argv[2:] or [0])[0])
    cores = sorted(os.sched_getaffinity(0))
    half = (len(cores) + 1) // 2
    os.sched_setaffinity(0, cores[:half])  # which the server inherits
    with serving(Path("reliability.log")) as server:
        os.sched_setaffinity(0, cores[half:] or cores)
        if what == "overload":
            asyncio.run(overload(server, amount or 120))
        elif what == "departures":
            asyncio.run(departures(server, amount or 8))
        else:
            asyncio.run(soak(server, int(amount or 20_000)))


if __name__ == "__main__":
    main()
