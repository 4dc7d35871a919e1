"""Ray Serve on this machine: `python -m benchmarks.ray_serve [--quick]` (make bench-ray).

The command prints the cost of a request compared with uvicorn, the rates of one, two and four
replicas, the cost of a separate deployment for the network, scaling up, and the loss of a node
under load. Each cluster has two nodes that share the cores of this machine. It takes 5 minutes.
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

from benchmarks.photos import make_jpeg
from benchmarks.servers import Load, RunningServer, load, run_server
from tests.helpers.ray_cluster import ServedByRay, served_by_ray

NODE_CORES = 2  # of each of the two nodes, as Ray counts
CLIENTS = 8
HAPROXY = {"RAY_SERVE_ENABLE_HA_PROXY": "1"}
TRIES = 5  # of a request, before it counts as lost
CALLS = 400  # of a network in its own deployment


@dataclass
class Outcomes:
    """The results of requests.

    Attributes:
        first: counts by the status of the first try; 0 is a broken connection.
        retried: requests with status 200 after a retry.
        lost: requests without status 200.
        seconds: (time of the response, seconds including retries) of each status 200.
    """

    first: Counter[int] = field(default_factory=Counter)
    retried: int = 0
    lost: int = 0
    seconds: list[tuple[float, float]] = field(default_factory=list)


def as_server(cluster: ServedByRay) -> RunningServer:
    """Return the cluster as a server of the other benchmarks, with all its processes."""
    return RunningServer(psutil.Process(cluster.process.pid), cluster.port)


def report_overhead(seconds: float) -> None:
    """Print one replica of two cores and uvicorn; with Ray's Python proxy, and with HAProxy."""
    print("| MP | clients | | requests/s | p50 ms | p99 ms | CPU ms | failed |")
    print("| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    cases = [(megapixels, clients) for megapixels in (0.3, 1, 12) for clients in (1, 4)]

    def measure(server: RunningServer) -> list[Load]:
        load_images(server, 1, 4, 2)
        return [load_images(server, *case, seconds) for case in cases]

    loads: dict[str, list[Load]] = {}
    with run_server("clut-enhance", make_jpeg(1)) as plain:
        loads["uvicorn"] = measure(plain)
    for name, environment in (("Ray Serve", {}), ("Ray Serve, HAProxy", HAPROXY)):
        fleet = {"replica_cores": 2, "min_replicas": 1, "max_replicas": 1}
        with served_by_ray(environment, nodes=1, cores=NODE_CORES, **fleet) as cluster:
            loads[name] = measure(as_server(cluster))
    for number, (megapixels, clients) in enumerate(cases):
        for name, measurements in loads.items():
            print(f"| {megapixels} | {clients} | {name} {format_row(measurements[number])}")


def report_replicas(seconds: float) -> None:
    """Print one, two and four replicas of one core each, which share the cores."""
    print("| replicas | MP | requests/s | p50 ms | p99 ms | CPU ms | failed |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for count in (1, 2, 4):
        with served_by_ray(
            nodes=2, cores=NODE_CORES, min_replicas=count, max_replicas=count
        ) as cluster:
            server = as_server(cluster)
            load_images(server, 1, CLIENTS, 2)
            for megapixels in (1, 12):
                one = load_images(server, megapixels, CLIENTS, seconds)
                print(f"| {count} | {megapixels} {format_row(one)}", flush=True)


def load_images(server: RunningServer, megapixels: float, clients: int, seconds: float) -> Load:
    """Load /enhance with images of one size."""
    body = make_jpeg(megapixels)
    return load(server, "/enhance", body=body, clients=clients, seconds=seconds)


def format_row(one: Load) -> str:
    """Return the figures of a load as the end of a table row."""
    return (
        f"| {one.requests_per_second:.1f} | {1000 * one.p50:.0f} | {1000 * one.p99:.0f} "
        f"| {1000 * one.server_cpu:.0f} | {one.failed} |"
    )


@serve.deployment(ray_actor_options={"num_cpus": 1}, max_ongoing_requests=64)
class Network:
    """A deployment in the place of the network, which computes nothing."""

    async def __call__(self, thumbnail: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a code (20,) for a thumbnail (3, 256, 256)."""
        return thumbnail[0, 0, :20].copy()


def report_split() -> None:
    """Print the cost of sending a thumbnail to another process and a code back."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    handle = serve.run(Network.bind(), route_prefix=None)  # type: ignore[attr-defined]
    thumbnail = np.random.default_rng(0).random((3, 256, 256), np.float32)
    for _ in range(20):
        handle.remote(thumbnail).result()
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    cpu, begun = sum_cpu_seconds(family), time.monotonic()
    for _ in range(CALLS):
        handle.remote(thumbnail).result()
    took = (time.monotonic() - begun) / CALLS
    cpu = (sum_cpu_seconds(family) - cpu) / CALLS
    size = thumbnail.nbytes / 1000
    print(f"{size:.0f} KB there, a code back: {1000 * took:.1f} ms, {1000 * cpu:.1f} ms of CPU")
    ray.shutdown()


def sum_cpu_seconds(family: list[psutil.Process]) -> float:
    """Return the user and system time of processes."""
    return sum(sum(it.cpu_times()[:2]) for it in family if it.is_running())


def report_scaling(seconds: float) -> None:
    """Print the scaling from one replica to four under a sudden load."""
    with (
        served_by_ray(nodes=2, cores=NODE_CORES, min_replicas=1, max_replicas=4) as cluster,
        send_requests(cluster, CLIENTS) as outcomes,
    ):
        print("| s | replicas | responses/s | mean ms |")
        print("| ---: | ---: | ---: | ---: |")
        begun, step = time.monotonic(), 5.0
        for tick in range(int(seconds / step)):
            time.sleep(max(0.0, begun + (tick + 1) * step - time.monotonic()))
            count = cluster.replicas()
            late = [took for at, took in outcomes.seconds if at > time.monotonic() - step]
            mean = 1000 * sum(late) / max(len(late), 1)
            after = (tick + 1) * step
            print(f"| {after:.0f} | {count} | {len(late) / step:.1f} | {mean:.0f} |", flush=True)
    print(f"\n{summarise(outcomes)}")


def report_node_failure(seconds: float) -> None:
    """Kill one of two nodes with a replica each, replace it, and print the effect."""
    with (
        served_by_ray(nodes=2, cores=1, min_replicas=2, max_replicas=2) as cluster,
        send_requests(cluster, CLIENTS) as outcomes,
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
    print(summarise(outcomes))
    after = [took for at, took in outcomes.seconds if killed <= at]
    print(f"longest request after the kill, retries included: {max(after):.1f} s")
    print(f"two replicas {whole - added:.1f} s after the new node")


@contextmanager
def send_requests(cluster: ServedByRay, clients: int) -> Iterator[Outcomes]:
    """Send requests in a closed loop within the context, and retry failed ones."""
    outcomes, stop = Outcomes(), threading.Event()
    photo = make_jpeg(1)

    def call() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{cluster.port}", timeout=60) as client:
            while not stop.is_set():
                try_request(lambda: client.post("/enhance", content=photo).status_code, outcomes)

    threads = [threading.Thread(target=call) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield outcomes
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def try_request(post: Callable[[], int], outcomes: Outcomes) -> None:
    """Send a request, retry it after a second while it fails, and count it."""
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


def summarise(outcomes: Outcomes) -> str:
    """Return the counts in one line."""
    first = ", ".join(f"{status} × {count}" for status, count in sorted(outcomes.first.items()))
    return f"first tries: {first}; retried with success: {outcomes.retried}; lost: {outcomes.lost}"


def main(quick: bool) -> None:
    """Print every table under its heading."""
    seconds = 3 if quick else 8
    parts: dict[str, Callable[[], None]] = {
        "Compared with uvicorn": lambda: report_overhead(seconds),
        "Replicas": lambda: report_replicas(seconds),
        "A separate deployment": report_split,
        "Scaling up": lambda: report_scaling(30 if quick else 50),
        "Node failure": lambda: report_node_failure(seconds),
    }
    for heading, part in parts.items():
        print(f"\n## {heading}\n", flush=True)
        part()


if __name__ == "__main__":
    main("--quick" in sys.argv)
