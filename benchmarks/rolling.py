"""A rolling restart of two replicas behind HAProxy, under load: `python -m benchmarks.rolling`.

Each replica is stopped with SIGTERM and started again, one after the other, while callers go on
through the proxy. It prints how their requests ended, and ends with 1 unless all were answered 200.
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

from benchmarks.photos import jpeg
from tests.helpers.server import free_port

CALLERS = 4
ROUNDS = 2
DRAIN = 4  # seconds; the proxy needs two failed checks, a second apart, to turn away

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


def replica(port: int) -> subprocess.Popen[bytes]:
    """Starts the service, and waits until it is ready."""
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


def call(front: int, photo: bytes, outcomes: Counter[str], stop: threading.Event) -> None:
    """Sends photos through the proxy until told to stop."""
    with httpx.Client(base_url=f"http://127.0.0.1:{front}", timeout=60) as client:
        while not stop.is_set():
            try:
                outcomes[str(client.post("/enhance", content=photo).status_code)] += 1
            except httpx.HTTPError as error:
                outcomes[repr(error)] += 1


def main() -> None:
    """Restarts, and counts."""
    front, *ports = (free_port() for _ in range(3))
    outcomes: Counter[str] = Counter()
    stop = threading.Event()
    replicas = [replica(port) for port in ports]
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "haproxy.cfg"
        configuration.write_text(PROXY.format(front=front, one=ports[0], two=ports[1]))
        proxy = subprocess.Popen(["haproxy", "-db", "-f", str(configuration)])
        time.sleep(2)  # until both are found healthy
        photo = jpeg(1)
        callers = [
            threading.Thread(target=call, args=(front, photo, outcomes, stop))
            for _ in range(CALLERS)
        ]
        for caller in callers:
            caller.start()
        for _ in range(ROUNDS):
            for number, port in enumerate(ports):
                replicas[number].send_signal(signal.SIGTERM)
                assert replicas[number].wait(60) == 0
                replicas[number] = replica(port)
                time.sleep(2)  # until the proxy has seen it
        stop.set()
        for caller in callers:
            caller.join()
        proxy.terminate()
        proxy.wait(30)
    for process in replicas:
        process.terminate()
        process.wait(60)
    print(f"{2 * ROUNDS} restarts; requests by outcome:", dict(outcomes))
    sys.exit(0 if set(outcomes) == {"200"} else 1)


if __name__ == "__main__":
    main()
