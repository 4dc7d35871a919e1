"""What a connection may cost, spoken over raw sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.http import enlarged
from tests.helpers.server import Server, serving

SECONDS = 1.5


@pytest.fixture(scope="module")
def strict() -> Iterator[Server]:
    """A server of little patience."""
    settings = {"HEAD_SECONDS": SECONDS, "HEAD_BYTES": 4096, "STALL_SECONDS": SECONDS}
    with serving(**{f"CONNECTION_{name}": value for name, value in settings.items()}) as server:
        yield server


def connect(server: Server) -> socket.socket:
    """A connection of one's own; waiting for ever on it fails the test."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def everything(caller: socket.socket, *, resets: bool = True) -> bytes:
    """All that comes until the server closes, or, where that may be, resets the connection."""
    parts = []
    try:
        while part := caller.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        if not resets:
            raise
    return b"".join(parts)


@pytest.mark.parametrize(
    "sent", [b"", b"G", b"GET /livez HTTP/1.1\r\nHost: x\r\n", b"GET /livez HTTP/1.1\r\nHost: x"]
)
def test_half_a_request_is_not_waited_for(strict: Server, sent: bytes) -> None:
    """A connection that does not come to the point is closed, without an answer."""
    with connect(strict) as caller:
        caller.sendall(sent)
        assert everything(caller) == b""


def test_a_body_that_nobody_asked_for_does_not_hold_the_line(strict: Server) -> None:
    """After a refusal the rest of a body must not drip in for ever."""
    with connect(strict) as caller:
        caller.sendall(b"POST /models HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert everything(caller).startswith(b"HTTP/1.1 405")


def test_connections_are_used_again(strict: Server) -> None:
    """One after the other, requests of a patient caller share a connection."""
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(strict) as caller:
        for _ in range(3):
            caller.sendall(request)
            answer = b""
            while not answer.endswith(b"}"):
                answer += caller.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200")
        caller.sendall(request * 3)
        assert everything(caller).count(b"HTTP/1.1 200") == 3


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 5000 + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 500_000,
        b"GET /" + b"a" * 500_000,
        b"GET /livez?" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n" + b"A: b\r\n" * 3000 + b"\r\n",
    ],
)
def test_large_heads(strict: Server, head: bytes) -> None:
    """Whether it comes at once or never ends, a head that is too large is answered 431."""
    with connect(strict) as caller:
        caller.sendall(head)
        assert everything(caller).startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize(
    "request_",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xc3\xbc HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /enhance HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /enhance HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nContent-Length: 8\r\n\r\n",
        b"POST /enhance HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /enhance HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /livez HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /livez HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX: a\nb\r\n\r\n",
    ],
)
def test_what_is_no_http(strict: Server, request_: bytes) -> None:
    """It is answered 4xx; never 5xx, and never a hang."""
    with connect(strict) as caller:
        caller.sendall(request_)
        assert everything(caller).startswith(b"HTTP/1.1 4")
    assert strict.client.get("/livez").status_code == 200


def test_many_small_headers_cost_little() -> None:
    """Each was counted again with every next one: ten thousand of them held up all for 9 s."""
    head = b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"A:b\r\n" * 100_000 + b"\r\n"
    with serving(CONNECTION_MAX_HEADER_BYTES=2_000_000) as server, connect(server) as caller:
        caller.sendall(head)
        assert caller.recv(65536).startswith(b"HTTP/1.1 200")


CHUNKED = (
    b"POST /enhance HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
)


def test_what_trails_a_body_is_no_header(strict: Server) -> None:
    """A proxy that checks headers does not see trailers: they must not pass for headers."""
    with connect(strict) as caller:
        caller.sendall(CHUNKED + b"X-Request-ID: smuggled\r\n\r\n")
        answer = everything(caller)
    assert answer.startswith(b"HTTP/1.1 415")
    assert b"smuggled" not in answer


def test_trailers_are_bounded(strict: Server) -> None:
    """As a head is."""
    with connect(strict) as caller:
        caller.sendall(CHUNKED + b"A: b\r\n" * 20_000 + b"\r\n")
        assert everything(caller).startswith(b"HTTP/1.1 431")


def test_an_upgrade_does_not_split_a_request(strict: Server) -> None:
    """A body that comes with `Upgrade` must not be taken for further requests."""
    inner = b"GET /problems HTTP/1.1\r\nHost: x\r\n\r\n"
    head = "POST /enhance HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    with connect(strict) as caller:
        caller.sendall(f"{head}Content-Length: {len(inner)}\r\n\r\n".encode() + inner)
        answer = everything(caller)
    assert answer.count(b"HTTP/1.1 ") == answer.count(b"HTTP/1.1 400") == 1
    assert b"Upgrade" in answer
    with connect(strict) as caller:  # without a body there is nothing to mistake
        caller.sendall(head.replace("POST /enhance", "GET /livez").encode() + b"\r\n")
        assert everything(caller).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", b"404"),
        (b"POST /nothing HTTP/1.0\r\n", b"404"),
        (b"POST /enhance?strength=2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", b"400"),
        (b"POST /enhance HTTP/1.1\r\nHost: x\r\nX : y\r\n", b"400"),
    ],
)
def test_a_refusal_reaches_whoever_is_still_sending(
    strict: Server, head: bytes, status: bytes
) -> None:
    """To close a connection on which bytes arrive would reset it, and the answer be lost."""
    body = bytes(20_000_000)
    with connect(strict) as caller:
        caller.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body))
        caller.sendall(body)
        assert everything(caller, resets=False).startswith(b"HTTP/1.1 " + status)


def test_a_length_of_many_digits(server: Server, otters: bytes) -> None:
    """Zeros in front of it are legal; five thousand of them were answered 500."""
    length = str(len(otters)).zfill(5000)
    head = f"POST /lut?size=2 HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    with connect(server) as caller:
        caller.sendall(head.encode() + otters)
        assert caller.recv(65536).startswith(b"HTTP/1.1 200")


def test_what_follows_a_request_does_not_cost_its_answer(strict: Server, otters: bytes) -> None:
    """A whole request is answered, whatever nonsense comes behind it; then it is over."""
    head = b"POST /lut?size=2 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(otters)
    with connect(strict) as caller:
        caller.sendall(head + otters + b"nonsense\r\n\r\n")
        answer = everything(caller)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_requests_that_are_sent_ahead_may_take_their_time(otters: bytes) -> None:
    """The time for a head does not run while a request that was sent ahead is answered."""
    photo = enlarged(otters, 6000)
    head = "POST /enhance?format=avif HTTP/1.1\r\nHost: x\r\n"
    slow = f"{head}Content-Length: {len(photo)}\r\n\r\n".encode() + photo
    with serving(CONNECTION_HEADER_TIMEOUT=0.2) as server, connect(server) as caller:
        caller.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" + slow)
        answer = everything(caller)
    assert answer.count(b"HTTP/1.1 200") == 2


def test_an_answer_that_nobody_reads(strict: Server) -> None:
    """It does not stay in memory: its connection is closed."""
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.settimeout(30)
        caller.connect(("127.0.0.1", strict.port))
        for _ in range(40):  # more than the system's buffers take
            caller.sendall(b"GET /swagger/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n")
        gone = caller.getsockname()
        until_closed(strict, gone[1])


def until_closed(server: Server, port: int) -> None:
    """Waits until the server's end of a connection is gone."""
    give_up = time.monotonic() + 30
    while any(
        line.split()[1].endswith(f":{server.port:04X}")
        and line.split()[2].endswith(f":{port:04X}")
        and line.split()[3] == "01"
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
    ):
        assert time.monotonic() < give_up
        time.sleep(0.1)


def test_connections_are_counted() -> None:
    """One more than there may be is closed, and those that are there are served."""
    with serving(CONNECTION_MAX=5) as server:
        server.client.close()
        callers = [connect(server) for _ in range(5)]
        with connect(server) as late:
            assert everything(late) == b""
        for caller in callers:
            caller.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert everything(caller).startswith(b"HTTP/1.1 200")
            caller.close()
