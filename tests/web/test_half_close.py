"""Clients that half-close a connection, and wait for the response or disconnect."""

from __future__ import annotations

import asyncio
import re
import socket

import pytest

from app.web.half_close import CONTINUE, HalfCloseWatch
from tests.helpers.http import enlarged
from tests.helpers.metrics import cancelled_in, grown, samples
from tests.helpers.server import PATIENCE, Server, serving
from tests.helpers.waiting import wait_until

LIVEZ = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


def post(body: bytes, version: bytes = b"1.1") -> bytes:
    """Return a request to enhance a photo."""
    head = b"POST /enhance HTTP/%b\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    return head % (version, len(body)) + body


def exchange(server: Server, sent: bytes) -> bytes:
    """Send bytes and end that direction; return what is received until the connection ends."""
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_clients_that_end_their_direction(server: Server, otters: bytes, version: bytes) -> None:
    """Every request that arrived whole has its response, and then the connection ends."""
    photo = post(otters, version)
    large = post(enlarged(otters, 4000), version)
    for sent, count in ((LIVEZ, 1), (LIVEZ * 3, 3), (photo, 1), (LIVEZ + photo, 2), (large, 1)):
        rest = exchange(server, sent)
        for _ in range(count):
            # It comes where the response takes long; clients skip it.
            head, _, rest = rest.removeprefix(CONTINUE).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            (length,) = re.findall(rb"content-length: (\d+)", head)
            rest = rest[int(length) :]
        assert rest == b""


@pytest.mark.parametrize("sent", [b"", LIVEZ[:-1], LIVEZ + b"GET", post(b"x" * 100)[:-1]])
def test_requests_that_are_cut_off(server: Server, sent: bytes) -> None:
    """The rest of a request will never come: the connection ends."""
    assert exchange(server, sent).count(b"HTTP/1.1") == sent.count(LIVEZ)


def test_clients_that_leave(otters: bytes) -> None:
    """The work for a client that has closed its socket is cancelled."""
    pixels = 3000 * 3000 * 9 // 16
    # Memory for one of the images: the others wait until it is done.
    with serving(IMAGE_MAX_PIXELS=pixels, ADMISSION_MEMORY_BYTES=20 * pixels) as server:
        before, photo = samples(server.client), post(enlarged(otters, 3000))
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection:
                connection.sendall(photo)

        def has_cancelled() -> bool:
            return grown(before, samples(server.client)).get(cancelled_in("queue"), 0) > 10

        wait_until(has_cancelled, PATIENCE)


class Waiting(asyncio.Protocol):
    """A server that has no response yet."""

    def __init__(self) -> None:
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def eof_received(self) -> bool:
        """Watch the client."""
        self._watch = HalfCloseWatch(self.transport, lambda: True)
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's
        """Note the end."""
        self._watch.cancel()
        self.lost.set_result(None)


@pytest.mark.anyio
async def test_whether_a_client_has_left() -> None:
    """A client that waits receives one interim response; one that has left is disconnected."""
    accepted: list[Waiting] = []

    def accept() -> Waiting:
        accepted.append(Waiting())
        return accepted[-1]

    listening = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0)
    address = listening.sockets[0].getsockname()
    async with asyncio.timeout(PATIENCE), listening:
        reader, waiting = await asyncio.open_connection(*address)
        waiting.write_eof()
        assert await reader.readexactly(len(CONTINUE)) == CONTINUE
        _, leaving = await asyncio.open_connection(*address)
        leaving.close()
        await accepted[1].lost
        assert not accepted[0].lost.done()
        accepted[0].transport.close()
        assert await reader.read() == b""
        waiting.close()
        await accepted[0].lost
