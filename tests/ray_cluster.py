"""A Ray cluster of a few nodes on this machine, in a process of its own.

`python -m tests.ray_cluster PORT REPLICAS` starts one node more than it needs and serves; a line
`kill` on its standard input kills the last node, the end of its input ends it. Ray's threads,
warnings and signal handlers so stay out of the tests' process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from tests.server import PATIENCE, free_port

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # it would ask the network
    # All load comes to one proxy here, which would keep it to the replicas of its own node.
    "RAY_SERVE_PROXY_PREFER_LOCAL_NODE_ROUTING": "0",
    "RAY_DEDUP_LOGS": "0",
}


@dataclass(frozen=True)
class ServedByRay:
    """A cluster that serves."""

    process: subprocess.Popen[str]
    client: httpx.Client
    port: int

    def kill_node(self) -> None:
        """Kills the node that is not the head, with what runs there, at once."""
        self.tell("kill")

    def tell(self, order: str) -> None:
        """Sends an order, and waits until it is carried out."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()
        self.heard(f"done {order}")

    def heard(self, line: str) -> None:
        """Waits until the process says this; raises RuntimeError if it ends before."""
        assert self.process.stdout is not None
        for said in self.process.stdout:
            if said.rstrip() == line:
                return
        raise RuntimeError(f"the cluster ended with {self.process.wait(PATIENCE)}")


@contextmanager
def served_by_ray(nodes: int = 2, **fleet: int) -> Iterator[ServedByRay]:
    """Starts a head and further nodes of one core each, and the service on them."""
    port = free_port()
    arguments = [str(port), str(nodes), *(f"{name}={value}" for name, value in fleet.items())]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CLUT_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.ray_cluster", *arguments],
        env=environment | QUIET | {"CLUT_AUTH_OPEN": "true"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            cluster = ServedByRay(process, client, port)
            cluster.heard("serving")
            yield cluster
    finally:
        process.communicate(timeout=PATIENCE)


def main(port: int, nodes: int, fleet: dict[str, int]) -> None:
    """Serves until its input ends."""
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster

    from deploy.ray.service import Fleet, application

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    workers = [cluster.add_node(num_cpus=1) for _ in range(nodes - 1)]
    ray.init(address=cluster.address, log_to_driver=False)
    serve.start(proxy_location="HeadOnly", http_options={"port": port, "request_timeout_s": 100})
    serve.run(application(Fleet(**{"cores": 1, **fleet})))
    print("serving", flush=True)
    for order in sys.stdin:
        if order.strip() == "kill":
            cluster.remove_node(workers.pop(), allow_graceful=False)
        elif order.strip() == "add":
            workers.append(cluster.add_node(num_cpus=1))
        print(f"done {order.strip()}", flush=True)
    serve.shutdown()
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(
        int(sys.argv[1]),
        int(sys.argv[2]),
        {name: int(value) for name, value in (it.split("=") for it in sys.argv[3:])},
    )
