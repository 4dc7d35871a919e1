"""Responses that clients read slowly: their memory is counted, and their rate has a minimum."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from tests.helpers.metrics import samples
from tests.helpers.server import PATIENCE, Server, serving
from tests.helpers.waiting import wait_until

READERS = 3
SIZE = 100  # lattice points on an axis: a file of 27 MB
RESERVED = ("clut_reserved_memory_bytes", ())


def predict_token(server: Server, photo: bytes) -> str:
    """Return the look token for a photo."""
    return server.client.post("/lut", content=photo).headers["x-look"]


def request_lut(server: Server, token: str) -> socket.socket:
    """Request a large LUT, and read the first byte of the response."""
    client = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    target = f"/lut/{token}?size={SIZE}"
    client.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    assert client.recv(1) == b"H"
    return client


def reserved(server: Server) -> float:
    """Return the bytes of memory that are reserved."""
    return samples(server.client)[RESERVED]


def wait_until_nothing_is_reserved(server: Server) -> None:
    """Wait until all memory is given back."""
    wait_until(lambda: not reserved(server), PATIENCE)


def test_responses_count_until_they_are_read(otters: bytes) -> None:
    """Files of clients that do not read are reserved memory, until the clients disconnect."""
    with serving() as server:
        token = predict_token(server, otters)
        size = len(
            server.client.get(f"/lut/{token}?size={SIZE}", headers={"Accept-Encoding": ""}).content
        )
        with ExitStack() as clients:
            for _ in range(READERS):
                clients.enter_context(request_lut(server, token))
            assert reserved(server) == READERS * size
            assert server.client.post("/enhance", content=otters).status_code == 200
        wait_until_nothing_is_reserved(server)


def test_slow_readers_are_disconnected(otters: bytes) -> None:
    """A client that reads more slowly than the minimum rate gets no more than part of its file."""
    with serving(CONNECTION_MIN_READ_RATE=10**9) as server:
        token = predict_token(server, otters)
        with request_lut(server, token) as client:
            wait_until_nothing_is_reserved(server)
            received = sum(map(len, iter(lambda: client.recv(1 << 20), b"")))
        assert received < 20_000_000
        assert server.client.get("/livez").status_code == 200
