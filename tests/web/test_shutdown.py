"""Signals: SIGTERM and SIGINT with requests in flight, SIGHUP while the server starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.helpers.http import enlarged
from tests.helpers.metrics import response_series, samples
from tests.helpers.raw import connect, exchange, post
from tests.helpers.server import PATIENCE, Server, free_port, serving
from tests.helpers.waiting import wait_until

PROBE = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def test_requests_in_flight_are_completed(otters: bytes, tmp_path: Path) -> None:
    """Under load, each request that began before SIGTERM gets its response; exit status 0."""
    log = tmp_path / "log"
    with (
        serving(log, HTTP_DRAIN_SECONDS=1) as server,
        ThreadPoolExecutor(6) as clients,
    ):
        calling = [clients.submit(post_until_closed, server, otters) for _ in range(6)]
        series = response_series("POST", "/enhance", 200)
        wait_until(lambda: samples(server.client).get(series, 0) >= 6, PATIENCE)
        server.process.send_signal(signal.SIGTERM)
        statuses = [status for call in calling for status in call.result()]
        assert server.process.wait(PATIENCE) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    begun = [line["status"] for line in lines if line.get("path") == "/enhance"]
    assert len(begun) > 6
    assert set(begun) == set(statuses) == {200}
    assert len(begun) == len(statuses)


def post_until_closed(server: Server, photo: bytes) -> list[int]:
    """Send photos on new connections until the server stops listening; return the statuses."""
    statuses = []
    with httpx.Client(base_url=server.client.base_url, timeout=PATIENCE) as client:
        while True:
            try:
                response = client.post("/enhance", content=photo, headers={"Connection": "close"})
            except (httpx.ConnectError, httpx.ReadError):  # the connection was not accepted
                return statuses
            statuses.append(response.status_code)


@pytest.mark.parametrize(
    ("signals", "settings"),
    [
        ((signal.SIGTERM, signal.SIGTERM), {}),
        ((signal.SIGINT, signal.SIGINT), {}),
        ((signal.SIGTERM, signal.SIGINT), {"HTTP_DRAIN_SECONDS": 600}),
    ],
)
def test_a_second_signal_ends_the_process(
    tmp_path: Path, signals: tuple[int, int], settings: dict[str, object]
) -> None:
    """The process ends at once with status 1, and logs how many requests were cut off."""
    log = tmp_path / "log"
    head = post("/enhance", b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 9")
    with serving(log, **settings) as server, connect(server.port) as connection:
        connection.sendall(head)
        assert b" 100 " in connection.recv(100)  # the server waits for the body
        server.client.close()
        server.process.send_signal(signals[0])
        if settings:
            wait_until(lambda: b" 503 " in exchange(server.port, PROBE))
        else:
            wait_until(lambda: "Waiting for connections" in log.read_text())
        server.process.send_signal(signals[1])
        assert server.process.wait(PATIENCE) == 1
    assert "1 requests were cut off" in log.read_text()


def test_a_second_signal_ends_a_stuck_process(tmp_path: Path, otters: bytes) -> None:
    """A thread that does not return does not keep the process alive."""
    log = tmp_path / "log"
    settings = {"HTTP_GRACEFUL_TIMEOUT": 600, "ADMISSION_DEADLINE": 600}
    target = "/enhance?format=avif&quality=100"
    with serving(log, **settings) as server, connect(server.port) as connection:
        connection.sendall(post(target, enlarged(otters, 6000)))
        in_flight = ("clut_in_flight_requests", ())
        wait_until(lambda: samples(server.client)[in_flight] == 1)
        server.client.close()
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "Shutting down" in log.read_text())
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 1  # 0 is the end of the request


def test_a_hangup_while_the_server_starts(tmp_path: Path) -> None:
    """SIGHUP, which reloads the models, does not end a process that is loading them."""
    log = tmp_path / "log"
    port = free_port()
    command = [sys.executable, "-m", "app", "serve", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=dict(os.environ))
    try:
        ignoring = Path(f"/proc/{process.pid}/status")
        wait_until(lambda: ignores_hangup(ignoring.read_text()) or process.poll() is not None)
        while "startup complete" not in log.read_text():
            process.send_signal(signal.SIGHUP)
            assert process.poll() is None
            wait_until(lambda: True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


def ignores_hangup(status: str) -> bool:
    """Return whether /proc/PID/status lists SIGHUP, which is signal 1, as ignored."""
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigIgn"))
    return bool(int(mask, 16) & 1)
