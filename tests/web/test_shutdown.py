"""SIGTERM while callers are at the door and in the house."""

from __future__ import annotations

import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.helpers.server import PATIENCE, Server, serving


def test_everybody_who_was_let_in_is_answered(otters: bytes, tmp_path: Path) -> None:
    """Under load, after SIGTERM, whatever the server has begun reaches its caller; exit 0."""
    log = tmp_path / "log"
    with serving(log, HTTP_DRAIN_SECONDS=1) as server, ThreadPoolExecutor(6) as callers:
        calling = [callers.submit(calls_until_closed, server, otters) for _ in range(6)]
        until_answered(server, 6)
        server.process.send_signal(signal.SIGTERM)
        outcomes = [outcome for call in calling for outcome in call.result()]
        assert server.process.wait(PATIENCE) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    begun = [line["status"] for line in lines if line.get("path") == "/enhance"]
    assert len(begun) > 6
    assert set(begun) == set(outcomes) == {200}
    assert len(begun) == len(outcomes)


def calls_until_closed(server: Server, photo: bytes) -> list[int]:
    """Sends photos on new connections until nobody listens; the status of each answer."""
    statuses = []
    with httpx.Client(base_url=server.client.base_url, timeout=PATIENCE) as client:
        while True:
            try:
                answer = client.post("/enhance", content=photo, headers={"Connection": "close"})
            except (httpx.ConnectError, httpx.ReadError):  # not let in any more
                return statuses
            statuses.append(answer.status_code)


def until_answered(server: Server, answers: int) -> None:
    """Waits until so many photos were answered."""
    text = 'clut_requests_total{method="POST",route="/enhance",status="200"}'
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        lines = server.client.get("/metrics").text.splitlines()
        counts = [float(line.split()[-1]) for line in lines if line.startswith(text)]
        if counts and counts[0] >= answers:
            return
        time.sleep(0.05)
    raise TimeoutError


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    """It ends the process at once, which says how many requests it cut off."""
    log = tmp_path / "log"
    head = b"POST /enhance HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    with (
        serving(log) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as caller,
    ):
        caller.sendall(head)
        assert b" 100 " in caller.recv(100)  # it waits for the photo now
        server.client.close()
        server.process.send_signal(signal.SIGTERM)
        until_logged(log, "Waiting for connections")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 1
    assert "1 requests were cut off" in log.read_text()


def until_logged(log: Path, text: str) -> None:
    """Waits until the server has said something."""
    give_up = time.monotonic() + PATIENCE
    while text not in log.read_text():
        assert time.monotonic() < give_up
        time.sleep(0.02)
