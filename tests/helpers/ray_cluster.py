"""A Ray cluster of a few nodes on this machine, in a process of its own.

`python -m tests.helpers.ray_cluster PORT NODES CORES NAME=VALUE...` starts the cluster and serves.
It reads one order a line from its standard input (`kill` a node, `add` a node, print the number of
running `replicas`) and ends with that input. Ray's threads, warnings and signal handlers stay out
of the process of the tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from tests.helpers.server import PATIENCE, free_port

LOCAL = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no requests to other hosts
    # The default of 15 gives other busy processes nearly all the CPU time.
    "RAY_worker_niceness": "0",
    # A proxy that does not start within 5 s is killed, which is too short on a busy machine.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    # All requests pass one proxy, which would prefer the replicas of its own node.
    "RAY_SERVE_PROXY_PREFER_LOCAL_NODE_ROUTING": "0",
    "RAY_DEDUP_LOGS": "0",
}
# Ray joins any cluster of this machine, such as that of another test, unless that is forbidden.
ALONE = LOCAL | {"RAY_ADDRESS": "local"}


@dataclass(frozen=True)
class ServedByRay:
    """A cluster that serves the application."""

    process: subprocess.Popen[str]
    client: httpx.Client
    port: int

    def kill_node(self) -> None:
        """Kill the last node that is not the head, with all its processes."""
        self._send("kill")

    def add_node(self) -> None:
        """Start another node."""
        self._send("add")

    def replicas(self) -> int:
        """Return the number of running replicas."""
        return int(self._send("replicas"))

    def _send(self, order: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()
        return self.read_line(f"done {order}")

    def read_line(self, prefix: str) -> str:
        """Wait for a line with a prefix, and return the rest of the line.

        Raises:
            RuntimeError: the process has ended without such a line.
        """
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(prefix):
                return line.removeprefix(prefix).strip()
        raise RuntimeError(f"the cluster ended with {self.process.wait(PATIENCE)}")


@contextmanager
def served_by_ray(
    environment: Mapping[str, str] | None = None,
    nodes: int = 2,
    cores: int = 1,
    replica_cores: int = 1,
    **fleet: int,
) -> Iterator[ServedByRay]:
    """Start a cluster and the service.

    Args:
        environment: environment variables of the cluster.
        nodes: number of nodes, the head included.
        cores: cores of each node, as Ray counts.
        replica_cores: cores of each replica.
        fleet: further arguments of `app.ray_app.ReplicaConfig`.
    """
    port = free_port()
    fleet["cores"] = replica_cores
    arguments = [
        *map(str, (port, nodes, cores)),
        *(f"{name}={value}" for name, value in fleet.items()),
    ]
    ours = {k: v for k, v in os.environ.items() if not k.startswith("CLUT_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.ray_cluster", *arguments],
        env=ours | LOCAL | {"CLUT_AUTH_ALLOW_ANONYMOUS": "true"} | dict(environment or {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            cluster = ServedByRay(process, client, port)
            cluster.read_line("serving")
            yield cluster
    finally:
        process.communicate(timeout=PATIENCE)


def main(port: int, nodes: int, cores: int, fleet: dict[str, int]) -> None:
    """Start the cluster, and execute orders until the input ends."""
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": cores, "include_dashboard": False}
    )
    others = [cluster.add_node(num_cpus=cores) for _ in range(nodes - 1)]
    ray.init(address=cluster.address, log_to_driver=False)
    serve.start(proxy_location="HeadOnly", http_options={"port": port, "request_timeout_s": 100})
    serve.run(application(fleet))
    print("serving", flush=True)
    for line in sys.stdin:
        order, result = line.strip(), ""
        if order == "kill":
            cluster.remove_node(others.pop(), allow_graceful=False)
        elif order == "add":
            others.append(cluster.add_node(num_cpus=cores))
        elif order == "replicas":
            result = str(count_replicas())
        print(f"done {order} {result}", flush=True)
    serve.shutdown()  # type: ignore[no-untyped-call]  # ray is typed in part
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]


def count_replicas() -> int:
    """Return the number of running replicas."""
    (served,) = serve.status().applications.values()
    (deployment,) = served.deployments.values()
    counts = {state.value: count for state, count in deployment.replica_states.items()}
    return counts.get("RUNNING", 0)


if __name__ == "__main__":
    # Tests that import this module do not load ray.
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster

    from app.ray_app import application

    port, nodes, cores = map(int, sys.argv[1:4])
    options = dict(it.split("=") for it in sys.argv[4:])
    main(port, nodes, cores, {name: int(value) for name, value in options.items()})
