"""Latency against load, simulated from measured service times.

Run `python -m benchmarks.simulation OUT.png`. First one real service tells what photographs of
several sizes cost it; then a discrete-event simulation lets many more of them arrive at replicas
of it, at random, than this machine could. It prints Markdown tables and draws a picture.

What is simulated: admission, the pixel budget, the turns (app/serving/workers.py), two cores a
replica, decoding and the rest as two calls. What is not: networks, garbage, neighbours, the
deadline. So a real fleet is slower than this, never faster.
"""

from __future__ import annotations

import itertools
import random
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import ceil
from pathlib import Path

import httpx
import matplotlib.pyplot as plt
import simpy

from app.serving.admission import AdmissionPolicy
from app.serving.workers import turn_of
from benchmarks.photos import SIZES, jpeg
from benchmarks.servers import Running, running

CORES = 2
MIX = {1: 0.2, 3: 0.3, 12: 0.4, 24: 0.09, 48: 0.01}  # megapixels -> share of the photographs
LOADS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.1)  # parts of what the cores can do
PLANNED, GIB = 0.7, 4  # of a replica: the load to plan for, and its memory
ARRIVALS = 10_000
ROUNDS = 12
UNBOUNDED = 1 << 62


@dataclass(frozen=True)
class Cost:
    """CPU seconds of one photograph: decoding, and all else; of its LUT alone; bytes in and out."""

    decode: float
    rest: float
    lut: float
    received: int
    sent: int

    @property
    def total(self) -> float:
        """CPU seconds of POST /enhance."""
        return self.decode + self.rest


def measured(server: Running, megapixels: float) -> Cost:
    """What a size costs, one photograph after the other."""
    body = jpeg(megapixels)

    def cpu(path: str) -> tuple[float, list[httpx.Response]]:
        httpx.post(server.url + path, content=body, timeout=60)
        before = server.cpu_seconds
        answers = [httpx.post(server.url + path, content=body, timeout=60) for _ in range(ROUNDS)]
        return (server.cpu_seconds - before) / ROUNDS, answers

    lut, _ = cpu("/lut")
    total, answers = cpu("/enhance")
    # By the clock, so the least that was seen: neighbours only add to it.
    decode = min(decoding(answer) for answer in answers)
    return Cost(decode, total - decode, lut, len(body), len(answers[0].content))


def decoding(answer: httpx.Response) -> float:
    """Seconds, by its Server-Timing."""
    return float(answer.headers["server-timing"].split("decode;dur=")[1].split(",")[0]) / 1000


class PixelBudget:
    """As app/serving/admission.py has it."""

    def __init__(self, env: simpy.Environment, budget: int) -> None:
        self._env, self._budget = env, budget
        self._waiting: list[tuple[float, int, int, simpy.Event]] = []
        self._numbers = itertools.count()
        self.held = self.highest = 0

    def take(self, pixels: int, turn: float) -> simpy.Event:
        """An event that comes when the pixels are given."""
        given = self._env.event()
        heappush(self._waiting, (turn, next(self._numbers), pixels, given))
        self._wake()
        return given

    def give_back(self, pixels: int) -> None:
        """Lets the next have them."""
        self.held -= pixels
        self._wake()

    def _wake(self) -> None:
        while self._waiting and (not self.held or self.held + self._waiting[0][2] <= self._budget):
            _, _, pixels, given = heappop(self._waiting)
            self.held += pixels
            self.highest = max(self.highest, self.held)
            given.succeed()


class Replica:
    """One process."""

    def __init__(self, env: simpy.Environment, policy: AdmissionPolicy) -> None:
        self.env, self._most = env, policy.max_requests
        self.cores = simpy.PriorityResource(env, CORES)
        self.budget = PixelBudget(env, policy.pixel_budget)
        self.requests = 0

    def enhance(self, pixels: int, cost: Cost, seen: Seen) -> Iterator[simpy.Event]:
        """One photograph's way."""
        if self.requests >= self._most:
            seen.refused += 1
            return
        self.requests += 1
        begun = self.env.now
        turn = turn_of(begun, pixels)
        yield self.budget.take(pixels, turn)
        for work in (cost.decode, cost.rest):
            with self.cores.request(priority=turn) as core:
                yield core
                yield self.env.timeout(work)
        self.budget.give_back(pixels)
        self.requests -= 1
        seen.latencies.append(self.env.now - begun)


@dataclass
class Seen:
    """What callers saw."""

    latencies: list[float] = field(default_factory=list)
    refused: int = 0
    highest: int = 0

    def quantile(self, percent: int) -> float:
        """Of the latencies, in seconds."""
        return statistics.quantiles(self.latencies, n=100)[percent - 1]


Balancer = Callable[[Sequence[Replica]], Replica]


def round_robin() -> Balancer:
    """Each replica in turn."""
    numbers = itertools.count()
    return lambda replicas: replicas[next(numbers) % len(replicas)]


def least_connections() -> Balancer:
    """The replica with the fewest requests; any of them."""
    dice = random.Random(1)  # noqa: S311 -- no secret
    return lambda replicas: min(replicas, key=lambda it: (it.requests, dice.random()))


def simulated(
    costs: dict[int, Cost],
    load: float,
    *,
    replicas: int = 1,
    balancer: Callable[[], Balancer] = least_connections,
    budget: int = AdmissionPolicy().pixel_budget,
    most: int = AdmissionPolicy().max_requests,
) -> Seen:
    """Lets photographs of the mix arrive at random."""
    env, dice, seen = simpy.Environment(), random.Random(7), Seen()  # noqa: S311 -- no secret
    policy = AdmissionPolicy(max_requests=most, pixel_budget=budget)
    fleet = [Replica(env, policy) for _ in range(replicas)]
    choose = balancer()
    rate = load * capacity(costs) * replicas

    def arrivals() -> Iterator[simpy.Event]:
        for size in dice.choices(list(MIX), list(MIX.values()), k=ARRIVALS):
            yield env.timeout(dice.expovariate(rate))
            env.process(choose(fleet).enhance(size * 1_000_000, costs[size], seen))

    env.process(arrivals())
    env.run()
    seen.highest = max(replica.budget.highest for replica in fleet)
    return seen


def capacity(costs: dict[int, Cost]) -> float:
    """Photographs of the mix that one replica's cores can do in a second."""
    return CORES / sum(share * costs[size].total for size, share in MIX.items())


def fleet(costs: dict[int, Cost], rate: int) -> str:
    """A row: what many photographs of the mix take."""
    replicas = ceil(rate / (PLANNED * capacity(costs)))
    received, sent = (
        rate * 8e-9 * sum(share * getattr(costs[size], way) for size, share in MIX.items())
        for way in ("received", "sent")
    )
    sizes = f"{replicas:,} | {CORES * replicas:,} | {GIB * replicas:,}"
    return f"| {rate:,} | {sizes} | {received:,.2f} | {sent:,.2f} |"


def main(output: Path) -> None:
    """Measure, simulate, print, draw."""
    with running("ours", jpeg(1)) as server:
        measures = {size: measured(server, size) for size in SIZES}
    costs = {int(size): cost for size, cost in measures.items() if size in MIX}
    print("| MP | /enhance, CPU ms | of it decoding | /lut, CPU ms | KB in | KB out |")
    print("| --- | --- | --- | --- | --- | --- |")
    for size, it in measures.items():
        times = " | ".join(f"{1000 * seconds:.0f}" for seconds in (it.total, it.decode, it.lut))
        print(f"| {size} | {times} | {it.received / 1000:.0f} | {it.sent / 1000:.0f} |")
    mean = CORES / capacity(costs)
    print(f"\nthe mix: {1000 * mean:.0f} CPU ms a photo, {capacity(costs):.1f} photos/s a replica")

    fleets: dict[str, dict[str, object]] = {
        "1 replica": {},
        "2, round robin": {"replicas": 2, "balancer": round_robin},
        "2, least connections": {"replicas": 2},
        "10, round robin": {"replicas": 10, "balancer": round_robin},
        "10, least connections": {"replicas": 10},
    }
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    print("\n| p50 / p99, s (refused) |", " | ".join(f"{load:.0%}" for load in LOADS), "|")
    print("| --- |" + " --- |" * len(LOADS))
    for name, options in fleets.items():
        seen = [simulated(costs, load, **options) for load in LOADS]  # type: ignore[arg-type]
        cells = [f"{it.quantile(50):.2f} / {it.quantile(99):.1f}{refusals(it)}" for it in seen]
        print(f"| {name} |", " | ".join(cells), "|")
        style = "--" if "robin" in name else "-"
        axes.plot(LOADS[:-1], [it.quantile(99) for it in seen[:-1]], style, marker=".", label=name)
    axes.set(xlabel="load, part of what the cores can do", ylabel="99th percentile, s", ylim=(0, 4))
    axes.legend()
    figure.savefig(output, dpi=90)

    print("\n| photos/s | replicas | cores | memory, GiB | in, Gbit/s | out, Gbit/s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for rate in (10, 1_000, 100_000):
        print(fleet(costs, rate))

    print("\n| one replica at 110 % | p50, s | p99, s | refused | most pixels in memory |")
    print("| --- | --- | --- | --- | --- |")
    for name, options in {
        "64 requests, budget of 200 MP": {},
        "64 requests, no budget": {"budget": UNBOUNDED},
        "no limit, budget of 200 MP": {"most": UNBOUNDED},
        "no limit, no budget": {"most": UNBOUNDED, "budget": UNBOUNDED},
    }.items():
        it = simulated(costs, 1.1, **options)
        pixels = f"{it.highest / 1e6:.0f} MP"
        share = it.refused / ARRIVALS
        print(
            f"| {name} | {it.quantile(50):.2f} | {it.quantile(99):.1f} | {share:.1%} | {pixels} |"
        )


def refusals(seen: Seen) -> str:
    """Their share, if there were any."""
    return f" ({seen.refused / ARRIVALS:.1%})" if seen.refused else ""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
