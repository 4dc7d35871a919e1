"""Limits and correctness of the HTTP protocol, tested over raw sockets."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import uvicorn

from app.web.protocol import UVICORN
from tests.helpers.http import enlarged
from tests.helpers.metrics import grown, samples
from tests.helpers.raw import connect, exchange, post, receive_all, status_of
from tests.helpers.server import Server, free_port, serving
from tests.helpers.waiting import wait_until

SECONDS = 1.5
PROBE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST_PROBE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def strict() -> Iterator[Server]:
    """Start a server with short timeouts and a small header limit."""
    names = ("HEADER_TIMEOUT", "WRITE_TIMEOUT", "KEEP_ALIVE_TIMEOUT")
    settings = {f"CONNECTION_{name}": SECONDS for name in names}
    with serving(CONNECTION_MAX_HEADER_BYTES=4096, **settings) as server:
        yield server


def test_uvicorn_version() -> None:
    """`app.web.protocol` overrides internals of uvicorn."""
    assert uvicorn.__version__.startswith(f"{UVICORN}."), (
        f"uvicorn {uvicorn.__version__} is installed, but app/web/protocol.py was written for "
        f"{UVICORN}. Compare uvicorn/protocols/http/httptools_impl.py of both versions with the "
        "methods that HttpProtocol overrides, then change UVICORN and the pin in pyproject.toml."
    )


@pytest.mark.parametrize("sent", [b"", b"G", PROBE[:-2], PROBE[:-4]])
def test_incomplete_heads_time_out(strict: Server, sent: bytes) -> None:
    """A connection that does not complete its request's headers is closed without a response."""
    assert exchange(strict.port, sent) == b""


def test_a_rejected_body_times_out(strict: Server) -> None:
    """After a rejection the rest of the body may not hold the connection."""
    head = b"POST /models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    assert status_of(exchange(strict.port, head)) == 405


def test_connections_are_reused(strict: Server) -> None:
    """Requests share a connection, one after the other or sent ahead."""
    with connect(strict.port) as connection:
        for _ in range(3):
            connection.sendall(PROBE)
            response = b""
            while not response.endswith(b"}"):
                response += connection.recv(65536)
            assert status_of(response) == 200
        connection.sendall(PROBE * 3)
        assert receive_all(connection).count(b"HTTP/1.1 200") == 3


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 5000 + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 500_000,
        b"GET /" + b"a" * 500_000,
        b"GET /livez?" + b"a" * 5000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n" + b"A: b\r\n" * 3000 + b"\r\n",
    ],
)
def test_large_heads(strict: Server, head: bytes) -> None:
    """A head above the limit is rejected with 431, whether it arrives at once or never ends."""
    assert status_of(exchange(strict.port, head)) == 431


MALFORMED = [
    b"\x00\x01\x02\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /\xc3\xbc HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET http://[::1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /enhance HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /enhance HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nContent-Length: 8\r\n\r\n",
    b"POST /enhance HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /enhance HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /enhance HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    b"1\r\nx\r\n0\r\n\r\n",
    b"POST /enhance HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost : x\r\n\r\n",
    b"GET /livez HTTP/9.9\r\nHost: localhost\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: a\nb\r\n\r\n",
]


@pytest.mark.parametrize("request_", MALFORMED)
def test_malformed_requests(strict: Server, request_: bytes) -> None:
    """They are rejected with 4xx; never with 5xx, and without a hang."""
    assert 400 <= status_of(exchange(strict.port, request_)) < 500
    assert strict.client.get("/livez").status_code == 200


@pytest.mark.parametrize(
    ("sent", "status", "reason"),
    [
        (b"nonsense\r\n\r\n", 400, "bad-request"),
        (b"GET /" + b"a" * 9000, 431, "headers-too-large"),
    ],
)
def test_rejections_of_the_protocol(strict: Server, sent: bytes, status: int, reason: str) -> None:
    """They have the headers of every other response, and are counted."""
    before = samples(strict.client)
    head, _, body = exchange(strict.port, sent).partition(b"\r\n\r\n")
    change = grown(before, samples(strict.client))
    lines = head.decode().lower().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    assert status_of(head) == status
    assert {"date", "x-request-id", "content-security-policy", "connection"} <= set(headers)
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-request-id"].encode() in body
    labels = ("method", "other"), ("route", "unmatched"), ("status", str(status))
    assert change["clut_requests_total", labels] == 1
    assert change["clut_rejected_total", (("reason", reason),)] == 1


def test_many_small_headers_cost_little() -> None:
    """Counting each again with every further one made 10,000 of them take 9 s."""
    head = PROBE[:-2] + b"A:b\r\n" * 100_000 + b"\r\n"
    with serving(CONNECTION_MAX_HEADER_BYTES=2_000_000) as server, connect(server.port) as it:
        it.sendall(head)
        assert status_of(it.recv(65536)) == 200


CHUNKED = (
    b"POST /enhance HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n0\r\n"
)


def test_a_body_of_tiny_chunks(strict: Server) -> None:
    """Each chunk costs the event loop time: a million of them are not read."""
    head = CHUNKED.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    response = exchange(strict.port, head + b"1\r\nx\r\n" * 1_000_000 + b"0\r\n\r\n")
    assert status_of(response) == 400
    assert b"chunks" in response
    few = head + b"1\r\nx\r\n" * 5_000 + b"0\r\n\r\n"
    assert status_of(exchange(strict.port, few)) == 415  # no image


def test_trailers_are_dropped(strict: Server) -> None:
    """Proxies do not check trailers, so that these may not pass for headers."""
    response = exchange(strict.port, CHUNKED + b"X-Request-ID: smuggled\r\n\r\n")
    assert status_of(response) == 415
    assert b"smuggled" not in response


def test_trailers_are_limited(strict: Server) -> None:
    """The limit of a head holds for trailers, too."""
    assert status_of(exchange(strict.port, CHUNKED + b"A: b\r\n" * 20_000 + b"\r\n")) == 431


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", 404),
        (b"POST /nothing HTTP/1.0\r\n", 404),
        (b"POST /enhance?strength=2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", 400),
        (b"POST /enhance HTTP/1.1\r\nHost: localhost\r\nX : y\r\n", 400),
    ],
)
def test_a_rejection_reaches_clients_that_are_sending(
    strict: Server, head: bytes, status: int
) -> None:
    """Closing a connection while data arrives would reset it, and the response be lost."""
    body = bytes(20_000_000)
    sent = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    assert status_of(exchange(strict.port, sent, resets=False)) == status


def test_a_length_of_many_digits(server: Server, otters: bytes) -> None:
    """Leading zeros of Content-Length are legal."""
    length = str(len(otters)).zfill(5000)
    head = f"POST /lut?size=2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
    with connect(server.port) as connection:
        connection.sendall(head.encode() + otters)
        assert status_of(connection.recv(65536)) == 200


def test_nonsense_after_a_request(strict: Server, otters: bytes) -> None:
    """A complete request gets its response; then the connection ends."""
    sent = post("/lut?size=2", otters).replace(b"Connection: close\r\n", b"") + b"nonsense\r\n\r\n"
    response = exchange(strict.port, sent)
    assert status_of(response) == 200
    assert response.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("size", [1000, 300_000, 2_000_000])
@pytest.mark.parametrize("split", [1, 20, len(LAST_PROBE) - 1])
def test_pipelined_heads_in_two_parts(server: Server, size: int, split: int) -> None:
    """A request behind a large body is served even where its head arrives in two parts."""
    first = post("/enhance", bytes(size)).replace(b"Connection: close\r\n", b"")
    with connect(server.port) as connection:
        connection.sendall(first + LAST_PROBE[:split])
        response = connection.recv(65536)
        assert status_of(response) == 415
        connection.sendall(LAST_PROBE[split:])
        assert (response + receive_all(connection)).count(b"HTTP/1.1 200") == 1


def test_pipelined_requests_are_limited(server: Server) -> None:
    """The requests that wait get their responses; further ones are not parsed at once."""
    responses = exchange(server.port, PROBE * 5_000)
    assert 100 <= responses.count(b"HTTP/1.1 200") < 200
    few = exchange(server.port, PROBE * 99 + LAST_PROBE)
    assert few.count(b"HTTP/1.1 200") == 100


def test_pipelined_requests_may_take_their_time(otters: bytes) -> None:
    """The time for headers does not run while a request that was sent ahead is in flight."""
    slow = post("/enhance?format=avif", enlarged(otters, 6000))
    with serving(CONNECTION_HEADER_TIMEOUT=0.2, ADMISSION_DEADLINE=600) as server:
        assert exchange(server.port, PROBE + slow).count(b"HTTP/1.1 200") == 2


def test_responses_that_are_not_read(strict: Server) -> None:
    """Their connection is closed, and their memory released."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", strict.port))
        for _ in range(40):  # more than the buffers of the system hold
            connection.sendall(PROBE.replace(b"/livez", b"/swagger/swagger-ui-bundle.js"))
        port = connection.getsockname()[1]
        wait_until(lambda: not is_open(strict.port, port))


def is_open(server: int, client: int) -> bool:
    """Return whether the server's end of a connection is open (/proc/net/tcp)."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(
        line[1].endswith(f":{server:04X}") and line[2].endswith(f":{client:04X}")
        for line in lines
        if line[3] == "01"  # established
    )


def test_connection_limit() -> None:
    """Connections beyond the limit are closed, and those within it are served."""
    with serving(CONNECTION_MAX=5) as server, ExitStack() as stack:
        server.client.close()
        connections = [stack.enter_context(connect(server.port)) for _ in range(5)]
        assert exchange(server.port, b"") == b""
        rejected = exchange(server.port, LAST_PROBE.replace(b"/livez", b"/models"))
        assert status_of(rejected) == 503
        for connection in connections:
            connection.sendall(LAST_PROBE)
            assert status_of(receive_all(connection)) == 200


def test_probes_are_served_beyond_the_connection_limit() -> None:
    """However many idle connections there are, on either port."""
    port = free_port()
    settings = {"CONNECTION_MAX": 5, "METRICS_PORT": port}
    with serving(**settings) as server, ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(connect(server.port))
        for path in ("/livez", "/readyz"):
            probe = LAST_PROBE.replace(b"/livez", path.encode())
            assert status_of(exchange(server.port, probe)) == 200
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            page = client.get("/metrics").text
    assert re.search(r"clut_ready 1\.0", page)
