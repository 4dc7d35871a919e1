"""A full house: who is turned away, how, and what is said of it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.helpers.http import enlarged, problem
from tests.helpers.server import Server, serving

ORIGIN = "https://gallery.example"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the server writes."""
    return tmp_path_factory.mktemp("door") / "log"


@pytest.fixture(scope="module")
def full(log: Path, otters: bytes) -> Iterator[Server]:
    """A server with room for one request, which is there."""
    settings = {"ADMISSION_MAX_REQUESTS": 1, "CORS_ORIGINS": f'["{ORIGIN}"]'}
    with serving(log, ADMISSION_DEADLINE=600, **settings) as server:
        with occupied(server, enlarged(otters, 6000)):
            yield server
        until_in_flight(server.client, 0)
        assert server.client.post("/enhance", content=otters).status_code == 200


@contextmanager
def occupied(server: Server, photo: bytes) -> Iterator[None]:
    """Has a photo in the house that takes long: its caller reads the answer in the end."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as caller:
        target = "/enhance?format=avif&quality=100"
        head = f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(photo)}\r\n\r\n"
        caller.sendall(head.encode() + photo)
        until_in_flight(server.client, 1)
        yield
        assert caller.recv(65536).startswith(b"HTTP/1.1 200")


def until_in_flight(client: httpx.Client, requests: int) -> None:
    """Waits until as many requests are in the house."""
    give_up = time.monotonic() + 60
    while f"clut_in_flight_requests {requests}.0" not in client.get("/metrics").text:
        assert time.monotonic() < give_up
        time.sleep(0.05)


@pytest.mark.parametrize("target", ["/enhance", "/enhance?strength=0.5", "/lut"])
def test_one_too_many_is_told_when_to_come_back(full: Server, otters: bytes, target: str) -> None:
    """In a problem document, under the name that it gave itself."""
    refused = full.client.post(target, content=otters, headers={"X-Request-ID": "one-too-many"})
    problem(refused, 503, "overloaded")
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["x-content-type-options"] == "nosniff"
    assert refused.headers["x-request-id"] == "one-too-many"


def test_an_unusual_spelling_opens_nothing(full: Server, otters: bytes) -> None:
    """It takes the longer way to the same answer."""
    refused = full.client.post("/%65nhance", content=otters)
    assert (refused.status_code, refused.json()["type"]) == (503, "/problems#overloaded")


def test_pages_of_other_origins_may_read_the_refusal(full: Server, otters: bytes) -> None:
    """CORS has its say on refusals, too."""
    refused = full.client.post("/enhance", content=otters, headers={"Origin": ORIGIN})
    problem(refused, 503, "overloaded")
    assert refused.headers["access-control-allow-origin"] == ORIGIN


def test_nothing_is_read_of_who_is_turned_away(full: Server) -> None:
    """Its body need not come; what does come is not taken for another request."""
    with socket.create_connection(("127.0.0.1", full.port), timeout=30) as caller:
        caller.sendall(b"POST /enhance HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n")
        answer = b"".join(iter(lambda: caller.recv(65536), b""))
        caller.sendall(bytes(99) + b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert caller.recv(65536) == b""
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nconnection: close\r\n" in answer


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"])
def test_a_body_that_is_already_there_is_passed_over(full: Server, expect: bytes) -> None:
    """A whole request in one packet, and another behind it, get one answer."""
    head = b"POST /lut HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n" + expect
    one = head + b"\r\n" + bytes(9)
    with socket.create_connection(("127.0.0.1", full.port), timeout=30) as caller:
        caller.sendall(one + one + b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        answers = b"".join(iter(lambda: caller.recv(65536), b""))
    assert answers.count(b"HTTP/1.1 503") == answers.count(b"HTTP/1.1") == 1


def test_whoever_waits_behind_others_has_its_turn(full: Server) -> None:
    """Requests that were sent ahead are answered in their order, refusals among them."""
    probe = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    refused = b"POST /enhance HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", full.port), timeout=30) as caller:
        caller.sendall(probe + probe + refused)
        answers = b"".join(iter(lambda: caller.recv(65536), b""))
    statuses = [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"200", b"503"]


def test_everything_else_is_answered(full: Server) -> None:
    """The door is for photographs: looks, probes and metrics go on."""
    for path in ("/livez", "/models", "/metrics"):
        assert full.client.get(path).status_code == 200
    assert full.client.get("/enhance").status_code == 405


def test_refusals_are_counted_and_logged_together(full: Server, log: Path, otters: bytes) -> None:
    """Each counts in the metrics; the log has a line for all of a second, not one for each."""
    series = 'clut_requests_total{method="POST",route="/lut",status="503"}'

    def counted() -> float:
        lines = full.client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(series))

    before = counted()
    for _ in range(20):
        problem(full.client.post("/lut", content=otters), 503, "overloaded")
    assert counted() == before + 20
    time.sleep(1.5)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    reports = [it["refused"] for it in lines if it["message"] == "refused at the door"]
    assert sum(report["overloaded"] for report in reports) >= 20
    assert len(reports) < 20
