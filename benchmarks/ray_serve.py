"""Ray Serve on this machine: `python -m benchmarks.ray_serve [--quick]` (make bench-ray).

It prints the tables of docs/ray.md: what a request through Ray costs beside plain uvicorn, one
replica, two and four, what a split of the service would cost, scaling up, and a node killed under
load. Each cluster is of two nodes on this machine, so they share its cores. Some 5 minutes.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import numpy as np
import psutil
import ray
from numpy.typing import NDArray
from ray import serve

from benchmarks.photos import jpeg
from benchmarks.servers import Load, Running, load, running
from tests.helpers.ray_cluster import ServedByRay, served_by_ray

NODE_CORES = 2  # as Ray counts: of each of the two nodes
CALLERS = 8
HAPROXY = {"RAY_SERVE_ENABLE_HA_PROXY": "1"}
TRIES = 5  # of a request, before it counts as lost for good
CALLS = 400  # of a network that would be a deployment of its own


@dataclass
class Outcomes:
    """What became of requests.

    Attributes:
        first: by the status of the first try; 0 is a broken connection.
        retried: answered 200 after all.
        lost: never answered 200.
        seconds: (when, how long) of each that was answered 200, tries and all.
    """

    first: Counter[int] = field(default_factory=Counter)
    retried: int = 0
    lost: int = 0
    seconds: list[tuple[float, float]] = field(default_factory=list)


def through_ray(cluster: ServedByRay) -> Running:
    """The cluster as the other benchmarks know a server: with all its processes."""
    return Running(psutil.Process(cluster.process.pid), cluster.port)


def overhead(seconds: float) -> None:
    """One replica of two cores beside plain uvicorn; by Ray's own proxy, and by HAProxy."""
    print("| MP | clients | | requests/s | p50 ms | p99 ms | CPU ms | failed |")
    print("| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    cases = [(megapixels, clients) for megapixels in (0.3, 1, 12) for clients in (1, 4)]

    def measured(server: Running) -> list[Load]:
        under_load(server, 1, 4, 2)
        return [under_load(server, *case, seconds) for case in cases]

    loads: dict[str, list[Load]] = {}
    with running("ours", jpeg(1)) as plain:
        loads["uvicorn"] = measured(plain)
    for name, environment in (("Ray Serve", {}), ("Ray Serve, HAProxy", HAPROXY)):
        fleet = {"replica_cores": 2, "min_replicas": 1, "max_replicas": 1}
        with served_by_ray(environment, nodes=1, cores=NODE_CORES, **fleet) as cluster:
            loads[name] = measured(through_ray(cluster))
    for number, (megapixels, clients) in enumerate(cases):
        for name, measurements in loads.items():
            print(f"| {megapixels} | {clients} | {name} {row(measurements[number])}")


def replicas(seconds: float) -> None:
    """One, two and four replicas of one core each; the machine's cores are what they share."""
    print("| replicas | MP | requests/s | p50 ms | p99 ms | CPU ms | failed |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for count in (1, 2, 4):
        with served_by_ray(
            nodes=2, cores=NODE_CORES, min_replicas=count, max_replicas=count
        ) as cluster:
            server = through_ray(cluster)
            under_load(server, 1, CALLERS, 2)
            for megapixels in (1, 12):
                one = under_load(server, megapixels, CALLERS, seconds)
                print(f"| {count} | {megapixels} {row(one)}", flush=True)


def under_load(server: Running, megapixels: float, clients: int, seconds: float) -> Load:
    """Photographs through /enhance."""
    body = jpeg(megapixels)
    return load(server, "/enhance", body=body, clients=clients, seconds=seconds)


def row(one: Load) -> str:
    """The figures of a load, as the end of a table's row."""
    return (
        f"| {one.requests_per_second:.1f} | {1000 * one.p50:.0f} | {1000 * one.p99:.0f} "
        f"| {1000 * one.server_cpu:.0f} | {one.failed} |"
    )


@serve.deployment(ray_actor_options={"num_cpus": 1}, max_ongoing_requests=64)
class Network:
    """The network as a deployment of its own, but that it computes nothing."""

    async def __call__(self, thumbnail: NDArray[np.float32]) -> NDArray[np.float32]:
        """A thumbnail (3, 256, 256) -> a code (20,)."""
        return thumbnail[0, 0, :20].copy()


def split() -> None:
    """What it costs to send a thumbnail to another replica, and to get a code back."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    handle = serve.run(Network.bind(), route_prefix=None)
    thumbnail = np.random.default_rng(0).random((3, 256, 256), np.float32)
    for _ in range(20):
        handle.remote(thumbnail).result()
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    cpu, begun = cpu_seconds(family), time.monotonic()
    for _ in range(CALLS):
        handle.remote(thumbnail).result()
    took = (time.monotonic() - begun) / CALLS
    cpu = (cpu_seconds(family) - cpu) / CALLS
    size = thumbnail.nbytes / 1000
    print(f"{size:.0f} KB there, a code back: {1000 * took:.1f} ms, {1000 * cpu:.1f} ms of CPU")
    ray.shutdown()


def cpu_seconds(family: list[psutil.Process]) -> float:
    """User and system time of some processes."""
    return sum(sum(it.cpu_times()[:2]) for it in family if it.is_running())


def scaling(seconds: float) -> None:
    """From one replica to four, under a load that comes at once."""
    with (
        served_by_ray(nodes=2, cores=NODE_CORES, min_replicas=1, max_replicas=4) as cluster,
        calling(cluster, CALLERS) as outcomes,
    ):
        print("| s | replicas | answered/s | mean ms |")
        print("| ---: | ---: | ---: | ---: |")
        begun, step = time.monotonic(), 5.0
        for tick in range(int(seconds / step)):
            time.sleep(max(0.0, begun + (tick + 1) * step - time.monotonic()))
            count = cluster.replicas()
            late = [took for at, took in outcomes.seconds if at > time.monotonic() - step]
            mean = 1000 * sum(late) / max(len(late), 1)
            after = (tick + 1) * step
            print(f"| {after:.0f} | {count} | {len(late) / step:.1f} | {mean:.0f} |", flush=True)
    print(f"\n{ended(outcomes)}")


def killing(seconds: float) -> None:
    """Two nodes with a replica each; one node is killed, and then replaced."""
    with (
        served_by_ray(nodes=2, cores=1, min_replicas=2, max_replicas=2) as cluster,
        calling(cluster, CALLERS) as outcomes,
    ):
        time.sleep(seconds)
        cluster.kill_node()
        killed = time.monotonic()
        time.sleep(seconds)
        cluster.add_node()
        added = time.monotonic()
        while cluster.replicas() < 2:
            time.sleep(0.5)
        whole = time.monotonic()
        time.sleep(seconds / 2)
    print(ended(outcomes))
    after = [took for at, took in outcomes.seconds if killed <= at]
    print(f"longest wait for an answer after the kill, tries and all: {max(after):.1f} s")
    print(f"two replicas again {whole - added:.1f} s after a new node was there")


@contextmanager
def calling(cluster: ServedByRay, callers: int) -> Iterator[Outcomes]:
    """Callers in a closed loop, for as long as the context lasts; they try again what fails."""
    outcomes, stop = Outcomes(), threading.Event()
    photo = jpeg(1)

    def call() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{cluster.port}", timeout=60) as client:
            while not stop.is_set():
                tried(lambda: client.post("/enhance", content=photo).status_code, outcomes)

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield outcomes
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def tried(post: Callable[[], int], outcomes: Outcomes) -> None:
    """One request, tried again after a second while it fails; counted."""
    begun = time.monotonic()
    for attempt in range(TRIES):
        try:
            status = post()
        except httpx.HTTPError:
            status = 0
        if attempt == 0:
            outcomes.first[status] += 1
        if status == 200:
            outcomes.retried += attempt > 0
            outcomes.seconds.append((time.monotonic(), time.monotonic() - begun))
            return
        time.sleep(1)
    outcomes.lost += 1


def ended(outcomes: Outcomes) -> str:
    """The counts, in a line."""
    first = ", ".join(f"{status} × {count}" for status, count in sorted(outcomes.first.items()))
    return f"first tries: {first}; answered when retried: {outcomes.retried}; lost: {outcomes.lost}"


def main(quick: bool) -> None:
    """Prints every table under its heading."""
    seconds = 3 if quick else 8
    parts: dict[str, Callable[[], None]] = {
        "Beside uvicorn": lambda: overhead(seconds),
        "Replicas": lambda: replicas(seconds),
        "A split": split,
        "Scaling up": lambda: scaling(30 if quick else 50),
        "A node is killed": lambda: killing(seconds),
    }
    for heading, part in parts.items():
        print(f"\n## {heading}\n", flush=True)
        part()


if __name__ == "__main__":
    main("--quick" in sys.argv)
