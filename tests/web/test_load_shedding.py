"""Load shedding: which requests are rejected at capacity, how, and their log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.helpers.http import enlarged, problem
from tests.helpers.metrics import response_series, samples
from tests.helpers.raw import connect, exchange, post, receive_all
from tests.helpers.server import Server, serving
from tests.helpers.waiting import wait_until

ORIGIN = "https://gallery.example"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of the server's log."""
    return tmp_path_factory.mktemp("load") / "log"


@pytest.fixture(scope="module")
def full(log: Path, otters: bytes) -> Iterator[Server]:
    """Start a server that admits one request, and send that request."""
    settings = {"ADMISSION_MAX_REQUESTS": 1, "CORS_ORIGINS": f'["{ORIGIN}"]'}
    with serving(log, ADMISSION_DEADLINE=600, **settings) as server:
        with occupied(server, enlarged(otters, 6000)):
            yield server
        wait_until(lambda: in_flight(server.client) == 0)
        assert server.client.post("/enhance", content=otters).status_code == 200


@contextmanager
def occupied(server: Server, photo: bytes) -> Iterator[None]:
    """Have a request in flight that takes long; its response is read in the end."""
    with connect(server.port) as connection:
        connection.sendall(post("/enhance?format=avif&quality=100", photo))
        wait_until(lambda: in_flight(server.client) == 1)
        yield
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def in_flight(client: httpx.Client) -> float:
    """Return the number of requests in flight."""
    return samples(client)["clut_in_flight_requests", ()]


@pytest.mark.parametrize(
    "target", ["/enhance", "/enhance?strength=0.5", "/lut", "/%65nhance", "/enhanc%65", "/enhance/"]
)
def test_rejection(full: Server, otters: bytes, target: str) -> None:
    """A problem document with Retry-After, security headers and request ID, for any spelling."""
    rejected = full.client.post(target, content=otters, headers={"X-Request-ID": "one-too-many"})
    assert (rejected.status_code, rejected.json()["type"]) == (503, "/problems#overloaded")
    assert int(rejected.headers["retry-after"]) >= 1
    assert rejected.headers["x-content-type-options"] == "nosniff"
    assert rejected.headers["x-request-id"] == "one-too-many"
    assert rejected.headers["connection"] == "close"
    assert "date" in rejected.headers


def test_cors(full: Server, otters: bytes) -> None:
    """Pages of allowed origins may read the rejection."""
    rejected = full.client.post("/enhance", content=otters, headers={"Origin": ORIGIN})
    problem(rejected, 503, "overloaded")
    assert rejected.headers["access-control-allow-origin"] == ORIGIN
    assert rejected.headers["connection"] == "close"


def test_rejected_body_is_not_read(full: Server) -> None:
    """The response does not wait for the body, which is not parsed as a request either."""
    with connect(full.port) as connection:
        connection.sendall(post("/enhance", b"", "X: y").replace(b"Length: 0", b"Length: 99"))
        response = receive_all(connection)
        connection.sendall(bytes(99) + b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(65536) == b""
    assert response.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nconnection: close\r\n" in response


@pytest.mark.parametrize("expect", [(), ("Expect: 100-continue",)])
def test_body_that_has_arrived_is_skipped(full: Server, expect: tuple[str, ...]) -> None:
    """A whole request in one packet, and others behind it, get one response."""
    one = post("/lut", bytes(9), *expect).replace(b"Connection: close\r\n", b"")
    responses = exchange(full.port, one + one + b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert responses.count(b"HTTP/1.1 503") == responses.count(b"HTTP/1.1") == 1


def test_pipelined_requests_keep_their_order(full: Server) -> None:
    """Requests that were sent ahead get their responses in order, rejections among them."""
    probe = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    responses = exchange(full.port, probe + probe + post("/enhance", b""))
    statuses = [part[:3] for part in responses.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"200", b"503"]


def test_other_requests_are_served(full: Server) -> None:
    """Looks, probes and metrics are not limited."""
    for path in ("/livez", "/models", "/metrics"):
        assert full.client.get(path).status_code == 200
    assert full.client.get("/enhance").status_code == 405


def test_rejections_are_counted_and_logged_together(full: Server, log: Path, otters: bytes) -> None:
    """Each counts in the metrics; the log has one line per second for all of them."""
    series = response_series("POST", "/lut", 503)
    before = samples(full.client).get(series, 0)
    for origin in ({}, {"Origin": ORIGIN}) * 10:
        problem(full.client.post("/lut", content=otters, headers=origin), 503, "overloaded")
    assert samples(full.client)[series] == before + 20

    def reports() -> list[int]:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert not [it for it in lines if it.get("status") == 503 and it["path"] == "/lut"]
        rejected = [it["rejected"] for it in lines if it["message"] == "requests rejected"]
        return [it["overloaded"] for it in rejected]

    wait_until(lambda: sum(reports()) >= 20)
    assert len(reports()) < 20
