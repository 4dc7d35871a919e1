"""A discrete-event simulation of replicas of the service.

Simulated: admission, the memory budget, the priorities (app/serving/thread_pool.py), two cores per
replica, decoding and the rest as two calls on one core. Not simulated: the network between
machines, garbage collection, other load and the deadline, which make a real fleet slower; and the
LUT of a single image on all cores, which makes an idle replica faster.
"""

from __future__ import annotations

import itertools
import random
import statistics
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

import simpy

from app.policies import BYTES_PER_PIXEL, AdmissionPolicy
from app.serving.thread_pool import priority_of

CORES = 2
MIX: dict[float, float] = {
    1: 0.2,
    3: 0.3,
    12: 0.4,
    24: 0.09,
    48: 0.01,
}  # megapixels -> share of the images
ARRIVALS = 10_000
UNBOUNDED = 1 << 62

Events = Generator[simpy.Event, Any, None]


@dataclass(frozen=True)
class Cost:
    """CPU seconds of one image: decoding, the rest, and its LUT alone; bytes in and out."""

    decode: float
    rest: float
    lut: float
    received: int
    sent: int

    @property
    def total(self) -> float:
        """CPU seconds of POST /enhance."""
        return self.decode + self.rest


class MemoryBudget:
    """The memory budget of app/serving/admission.py."""

    def __init__(self, env: simpy.Environment, budget: int) -> None:
        self._env, self._budget = env, budget
        self._waiting: list[tuple[float, int, int, simpy.Event]] = []
        self._numbers = itertools.count()
        self.held = self.highest = 0

    def take(self, pixels: int, turn: float) -> simpy.Event:
        """Return an event that occurs when the pixels are reserved."""
        given = self._env.event()
        heappush(self._waiting, (turn, next(self._numbers), pixels, given))
        self._wake()
        return given

    def give_back(self, pixels: int) -> None:
        """Release the pixels."""
        self.held -= pixels
        self._wake()

    def _wake(self) -> None:
        while self._waiting and (not self.held or self.held + self._waiting[0][2] <= self._budget):
            _, _, pixels, given = heappop(self._waiting)
            self.held += pixels
            self.highest = max(self.highest, self.held)
            given.succeed()


class Replica:
    """One process of the service."""

    def __init__(self, env: simpy.Environment, policy: AdmissionPolicy) -> None:
        self.env, self._most = env, policy.max_requests
        self.cores = simpy.PriorityResource(env, CORES)
        self.budget = MemoryBudget(env, policy.memory_bytes // BYTES_PER_PIXEL)
        self.requests = 0

    def enhance(self, pixels: int, cost: Cost, result: Result) -> Events:
        """Process one image."""
        if self.requests >= self._most:
            result.rejected += 1
            return
        self.requests += 1
        begun = self.env.now
        turn = priority_of(begun, pixels)
        yield self.budget.take(pixels, turn)
        for work in (cost.decode, cost.rest):
            with self.cores.request(priority=round(1e6 * turn)) as core:
                yield core
                yield self.env.timeout(work)
        self.budget.give_back(pixels)
        self.requests -= 1
        result.latencies.append(self.env.now - begun)


@dataclass
class Result:
    """The latencies and rejections of a simulation."""

    latencies: list[float] = field(default_factory=list)
    rejected: int = 0
    highest: int = 0
    in_flight: float = 0.0  # mean requests in flight per replica, the metric of the autoscaler

    def quantile(self, percent: int) -> float:
        """Return a percentile of the latencies in seconds."""
        return statistics.quantiles(self.latencies, n=100)[percent - 1]


Balancer = Callable[[Sequence[Replica]], Replica]


def round_robin() -> Balancer:
    """Select the replicas in turn."""
    numbers = itertools.count()
    return lambda replicas: replicas[next(numbers) % len(replicas)]


def least_connections() -> Balancer:
    """Select one of the replicas with the fewest requests."""
    dice = random.Random(1)  # noqa: S311 -- no secret
    return lambda replicas: min(replicas, key=lambda it: (it.requests, dice.random()))


def simulate(
    costs: dict[float, Cost],
    load: float,
    *,
    replicas: int = 1,
    balancer: Callable[[], Balancer] = least_connections,
    budget: int = AdmissionPolicy().memory_bytes // BYTES_PER_PIXEL,
    most: int = AdmissionPolicy().max_requests,
) -> Result:
    """Simulate images of the mix that arrive at random times."""
    env, dice, result = simpy.Environment(), random.Random(7), Result()  # noqa: S311 -- no secret
    policy = AdmissionPolicy(max_requests=most, memory_bytes=budget * BYTES_PER_PIXEL)
    fleet = [Replica(env, policy) for _ in range(replicas)]
    choose = balancer()
    rate = load * compute_capacity(costs) * replicas

    def arrivals() -> Events:
        for size in dice.choices(list(MIX), list(MIX.values()), k=ARRIVALS):
            yield env.timeout(dice.expovariate(rate))
            env.process(choose(fleet).enhance(int(size) * 1_000_000, costs[size], result))

    env.process(arrivals())
    env.run()
    result.in_flight = sum(result.latencies) / env.now / replicas
    result.highest = max(replica.budget.highest for replica in fleet)
    return result


def compute_capacity(costs: dict[float, Cost], mix: dict[float, float] = MIX) -> float:
    """Return the images of a mix per second that the cores of one replica process."""
    return CORES / sum(share * costs[size].total for size, share in mix.items())
