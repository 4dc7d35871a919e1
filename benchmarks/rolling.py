"""A rolling restart of two replicas behind HAProxy, under load: `python -m benchmarks.rolling`.

Each replica is stopped with SIGTERM and started again, while clients send requests through the
proxy. The command prints the statuses and exits with 1 unless all are 200.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import httpx

from benchmarks.photos import make_jpeg
from tests.helpers.server import free_port

CLIENTS = 4
ROUNDS = 2
DRAIN = 4  # seconds; the proxy removes a replica after two failed checks, a second apart

PROXY = """
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    retries 2
    option redispatch
frontend front
    bind 127.0.0.1:{front}
    default_backend replicas
backend replicas
    option httpchk GET /readyz
    default-server check inter 1s fall 2 rise 1
    server one 127.0.0.1:{one}
    server two 127.0.0.1:{two}
"""


def start_replica(port: int) -> subprocess.Popen[bytes]:
    """Start the service, and wait until it is ready."""
    environment = os.environ | {"CLUT_HTTP_DRAIN_SECONDS": str(DRAIN)}
    command = [sys.executable, "-m", "app", "serve", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while True:
        time.sleep(0.2)
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                return process
        except httpx.ConnectError:
            assert process.poll() is None


def send_requests(front: int, photo: bytes, outcomes: Counter[str], stop: threading.Event) -> None:
    """Send images through the proxy until the event is set."""
    with httpx.Client(base_url=f"http://127.0.0.1:{front}", timeout=60) as client:
        while not stop.is_set():
            try:
                outcomes[str(client.post("/enhance", content=photo).status_code)] += 1
            except httpx.HTTPError as error:
                outcomes[repr(error)] += 1


def main() -> None:
    """Restart the replicas and count the statuses."""
    front, *ports = (free_port() for _ in range(3))
    outcomes: Counter[str] = Counter()
    stop = threading.Event()
    replicas = [start_replica(port) for port in ports]
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "haproxy.cfg"
        configuration.write_text(PROXY.format(front=front, one=ports[0], two=ports[1]))
        proxy = subprocess.Popen(["haproxy", "-db", "-f", str(configuration)])
        time.sleep(2)  # until the proxy has found both healthy
        photo = make_jpeg(1)
        clients = [
            threading.Thread(target=send_requests, args=(front, photo, outcomes, stop))
            for _ in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        for _ in range(ROUNDS):
            for number, port in enumerate(ports):
                replicas[number].send_signal(signal.SIGTERM)
                assert replicas[number].wait(60) == 0
                replicas[number] = start_replica(port)
                time.sleep(2)  # until the proxy has found it healthy
        stop.set()
        for client in clients:
            client.join()
        proxy.terminate()
        proxy.wait(30)
    for process in replicas:
        process.terminate()
        process.wait(60)
    print(f"{2 * ROUNDS} restarts; requests by status:", dict(outcomes))
    sys.exit(0 if set(outcomes) == {"200"} else 1)


if __name__ == "__main__":
    main()
