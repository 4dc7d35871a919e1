"""Clients that disconnect at any moment: nothing leaks, and other requests are served."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.files import scene
from tests.helpers.heic import heic
from tests.helpers.http import enlarged
from tests.helpers.metrics import cancelled_in, grown, samples
from tests.helpers.server import PATIENCE, Server, serving
from tests.helpers.waiting import wait_until

CLIENTS = 40  # at once; all are admitted, but have to wait for memory
ROUNDS = 4  # at least
WIDTH = 3000  # of the largest image: long enough in every stage to be cut off there
PIXELS = 8_000_000
MEMORY = 36 * PIXELS  # bytes: for that and a few small ones
UPLOADS = 48_000_000  # bytes: all bodies at once
STAGES = {"receive", "queue", "decode", "predict", "apply", "encode"}
IDLE = (
    "clut_in_flight_requests",
    "clut_in_flight_bytes",
    "clut_reserved_memory_bytes",
    "clut_memory_waiters",
    "clut_queue_depth",
    "process_open_fds",
)


@dataclass(frozen=True)
class Request:
    """A request, and the status of its response."""

    method: str
    path: str
    body: bytes
    status: int

    def wire(self) -> bytes:
        """Return the request as it is sent."""
        head = f"{self.method} {self.path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        return f"{head}Content-Length: {len(self.body)}\r\n\r\n".encode() + self.body


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Start a server with small budgets."""
    budgets = {"ADMISSION_MEMORY_BYTES": MEMORY, "UPLOAD_BUDGET_BYTES": UPLOADS}
    with serving(**budgets, IMAGE_MAX_PIXELS=PIXELS) as server:
        yield server


@pytest.fixture(scope="module")
def requests(server: Server, otters: bytes, photos: Path) -> list[Request]:
    """Return requests of every kind: cheap ones, costly ones, and ones that fail."""
    lake = (photos / "lake.jpg").read_bytes()
    token = server.client.post("/lut", content=lake).headers["x-look"]
    return [
        Request("POST", "/enhance", otters, 200),
        Request("POST", "/enhance", enlarged(otters, WIDTH), 200),
        Request("POST", "/enhance?format=png", lake, 200),
        Request("POST", f"/enhance?format=webp&look={token}", otters, 200),
        Request("POST", "/enhance", heic([scene()]), 200),
        Request("POST", "/lut?size=65", lake, 200),
        Request("GET", f"/lut/{token}?size=65", b"", 200),
        Request("POST", "/enhance", otters[:20_000], 422),
        Request("POST", "/lut", b"no photo", 415),
        Request("POST", "/enhance?model=none", lake, 404),
    ]


async def complete(port: int, request: Request) -> None:
    """Receive the whole response, which must be the expected one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.wire())
    async with asyncio.timeout(PATIENCE):
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.read()
    assert head.startswith(f"HTTP/1.1 {request.status} ".encode()), (request.path, head)
    assert f"content-length: {len(body)}\r\n".encode() in head
    writer.close()


async def disconnect(port: int, request: Request, chance: random.Random) -> None:
    """Disconnect while the client is sending, waiting, or receiving."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    wire = request.wire()
    moment = chance.choice(["sending", "waiting", "waiting", "reading"])
    writer.write(wire[: chance.randrange(len(wire))] if moment == "sending" else wire)
    if moment == "waiting":
        await asyncio.sleep(chance.expovariate(4))  # part of the load, not a wait for a condition
    if moment == "reading":
        await reader.read(chance.randrange(1, 5000))
    writer.transport.abort()


async def send_many(port: int, requests: list[Request], chance: random.Random) -> None:
    """Send many requests at once, of which two thirds are cut off."""
    async with asyncio.TaskGroup() as clients:
        for _ in range(CLIENTS):
            request = chance.choice(requests)
            if chance.random() < 0.65:
                clients.create_task(disconnect(port, request, chance))
            else:
                clients.create_task(complete(port, request))


def read_gauges(server: Server) -> dict[str, float]:
    """Return the gauges that must be as before once no request is in flight."""
    found = samples(server.client)
    return {name: sum(found[key] for key in found if key[0] == name) for name in IDLE}


def test_disconnects_in_every_stage(server: Server, requests: list[Request]) -> None:
    """Requests beside disconnected ones are served, and afterwards all resources are free."""
    chance = random.Random(0)  # noqa: S311 -- repeatable, not secret
    asyncio.run(
        send_many(server.port, requests, chance)
    )  # starts all processes and fills all caches
    wait_until_idle(server, None)
    before, counted = read_gauges(server), samples(server.client)
    left: set[str] = set()
    rounds = 0
    give_up = time.monotonic() + PATIENCE
    while rounds < ROUNDS or left < STAGES:
        assert time.monotonic() < give_up, left
        asyncio.run(send_many(server.port, requests, chance))
        rounds += 1
        change = grown(counted, samples(server.client))
        left = {stage for stage in STAGES if change.get(cancelled_in(stage))}
    wait_until_idle(server, before)
    whole = server.client.post("/enhance", content=bytes(UPLOADS))
    assert whole.status_code == 415  # not 503: the memory for bodies is free
    asyncio.run(send_each(server.port, requests))


async def send_each(port: int, requests: list[Request]) -> None:
    """Send one request of each kind, and receive all responses."""
    async with asyncio.TaskGroup() as clients:
        for request in requests:
            clients.create_task(complete(port, request))


def wait_until_idle(server: Server, before: dict[str, float] | None) -> None:
    """Wait until no request is in flight, and the gauges are as before."""

    def is_idle() -> bool:
        now = read_gauges(server)
        empty = not any(now[name] for name in IDLE if name != "process_open_fds")
        return now == before or (before is None and empty)

    wait_until(is_idle, PATIENCE)
