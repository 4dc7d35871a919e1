"""Clients that offer HTTP/2 with each request (`Upgrade: h2c`): the offer is ignored."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx
import pytest

from tests.helpers.paths import PHOTOS, ROOT
from tests.helpers.raw import connect, exchange, receive_all, status_of
from tests.helpers.server import Server

OTTERS = PHOTOS / "otters.jpg"
OFFER = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
HEAD = f"POST /lut?size=2 HTTP/1.1\r\nHost: localhost\r\n{OFFER}"
LAST = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def look(client: httpx.Client, photo: bytes) -> str:
    """Return the look of a photo that is sent without an offer."""
    return client.post("/lut?size=2", content=photo).headers["x-look"]


def test_java(server: Server, otters: bytes) -> None:
    """Java's HttpClient gets its responses, with the body intact."""
    command = [
        *("java", "-XX:TieredStopAtLevel=1", str(ROOT / "tests/helpers/JavaPost.java")),
        *(f"http://127.0.0.1:{server.port}/lut?size=2", str(OTTERS)),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line.split() for line in run.stdout.splitlines()]
    assert [line[:2] for line in lines] == [["200", "HTTP_1_1"]] * 3
    assert {line[3] for line in lines} == {look(server.client, otters)}


def test_curl(server: Server, otters: bytes, tmp_path: Path) -> None:
    """`curl --http2` gets its responses, all on one connection."""
    url = f"http://127.0.0.1:{server.port}/lut?size=2"
    send = ["--http2", "--data-binary", f"@{OTTERS}", "-o", str(tmp_path / "lut"), url]
    report = ["-sS", "-w", "%{http_code} %{num_connects} %header{x-look}\\n"]
    command = ["curl", *report, *send, "--next", *report, *send]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = look(server.client, otters)
    assert run.stdout.splitlines() == [f"200 1 {expected}", f"200 0 {expected}"]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("split", [None, 10, 150, 400, 70_000])
def test_body_and_connection_stay_intact(
    server: Server, otters: bytes, chunked: bool, split: int | None
) -> None:
    """The body is received whole, however it is split; the connection serves the next request."""
    if chunked:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(otters), otters)
        request = f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode() + body
    else:
        request = f"{HEAD}Content-Length: {len(otters)}\r\n\r\n".encode() + otters
    with connect(server.port) as connection:
        connection.sendall(request[:split])
        if split:
            server.client.get("/livez")  # the first part has been read meanwhile
            connection.sendall(request[split:])
        connection.sendall(LAST)
        response = receive_all(connection)
    assert look(server.client, otters).encode() in response
    assert response.count(b"HTTP/1.1 200") == response.count(b"HTTP/1.1 ") == 2


def test_body_is_not_parsed_as_requests(server: Server) -> None:
    """A body that looks like a request is a body."""
    inner = b"GET /problems HTTP/1.1\r\nHost: localhost\r\n\r\n"
    request = f"{HEAD}Content-Length: {len(inner)}\r\n\r\n".encode() + inner + LAST
    response = exchange(server.port, request)
    assert status_of(response) == 415
    assert response.count(b"HTTP/1.1 ") == 2


def test_offers_without_a_body(server: Server) -> None:
    """Several offers in one packet, WebSockets among them, get one response each."""
    get = f"GET /livez HTTP/1.1\r\nHost: localhost\r\n{OFFER}\r\n"
    requests = get + get.replace("h2c", "websocket") + get
    assert exchange(server.port, requests.encode() + LAST).count(b"HTTP/1.1 200") == 4


def test_connect(server: Server) -> None:
    """CONNECT is rejected."""
    request = b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost:22\r\n\r\n"
    assert status_of(exchange(server.port, request)) == 400
