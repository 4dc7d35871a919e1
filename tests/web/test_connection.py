"""What a connection may cost, spoken over raw sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import Server, serving

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


def everything(caller: socket.socket) -> bytes:
    """All that comes until the server closes."""
    parts = []
    try:
        while part := caller.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
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
        try:
            caller.sendall(head)
        except ConnectionError:
            return
        answer = everything(caller)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431")


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
    """It is answered 4xx, or the connection is closed; never 5xx, and never a hang."""
    with connect(strict) as caller:
        caller.sendall(request_)
        answer = everything(caller)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer
    assert strict.client.get("/livez").status_code == 200


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
