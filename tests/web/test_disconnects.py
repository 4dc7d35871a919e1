"""Callers who hang up at any moment: nothing is lost, nobody who stays is hurt."""

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

CALLERS = 40  # in a crowd; the house has room for all of them, but not for their pixels
CROWDS = 4  # at least
WIDTH = 3000  # of the largest photo: long enough in every stage to be left there
PIXELS = 8_000_000
MEMORY = 36 * PIXELS  # bytes: for that and a few small ones
UPLOADS = 48_000_000  # bytes: all bodies of a crowd
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
    """What is asked for, and how it is answered."""

    method: str
    path: str
    body: bytes
    status: int

    def wire(self) -> bytes:
        """The bytes of it."""
        head = f"{self.method} {self.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        return f"{head}Content-Length: {len(self.body)}\r\n\r\n".encode() + self.body


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of little memory."""
    budgets = {"ADMISSION_MEMORY_BYTES": MEMORY, "UPLOAD_BUDGET_BYTES": UPLOADS}
    with serving(**budgets, IMAGE_MAX_PIXELS=PIXELS) as server:
        yield server


@pytest.fixture(scope="module")
def requests(server: Server, otters: bytes, photos: Path) -> list[Request]:
    """Of every kind: cheap ones, costly ones, and ones that fail."""
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


async def stays(port: int, request: Request) -> None:
    """Waits for the whole of its answer, which must be the right one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.wire())
    async with asyncio.timeout(PATIENCE):
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.read()
    assert head.startswith(f"HTTP/1.1 {request.status} ".encode()), (request.path, head)
    assert f"content-length: {len(body)}\r\n".encode() in head
    writer.close()


async def leaves(port: int, request: Request, chance: random.Random) -> None:
    """Hangs up: before all is sent, while it waits, or in the middle of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    wire = request.wire()
    moment = chance.choice(["sending", "waiting", "waiting", "reading"])
    writer.write(wire[: chance.randrange(len(wire))] if moment == "sending" else wire)
    if moment == "waiting":
        await asyncio.sleep(chance.expovariate(4))  # what is tried out, not what is waited for
    if moment == "reading":
        await reader.read(chance.randrange(1, 5000))
    writer.transport.abort()


async def crowd(port: int, requests: list[Request], chance: random.Random) -> None:
    """Many at once, of whom some two thirds leave."""
    async with asyncio.TaskGroup() as callers:
        for _ in range(CALLERS):
            request = chance.choice(requests)
            if chance.random() < 0.65:
                callers.create_task(leaves(port, request, chance))
            else:
                callers.create_task(stays(port, request))


def idle(server: Server) -> dict[str, float]:
    """What has to be as before once nobody is there."""
    found = samples(server.client)
    return {name: sum(found[key] for key in found if key[0] == name) for name in IDLE}


def test_whoever_hangs_up_leaves_nothing_behind(server: Server, requests: list[Request]) -> None:
    """After crowds that left in every stage all who stayed are answered, and all is free again."""
    chance = random.Random(0)  # noqa: S311 -- repeatable, not secret
    asyncio.run(crowd(server.port, requests, chance))  # has all the processes and caches made
    settled(server, None)
    before, counted = idle(server), samples(server.client)
    left: set[str] = set()
    crowds = 0
    give_up = time.monotonic() + PATIENCE
    while crowds < CROWDS or left < STAGES:
        assert time.monotonic() < give_up, left
        asyncio.run(crowd(server.port, requests, chance))
        crowds += 1
        change = grown(counted, samples(server.client))
        left = {stage for stage in STAGES if change.get(cancelled_in(stage))}
    settled(server, before)
    whole = server.client.post("/enhance", content=bytes(UPLOADS))
    assert whole.status_code == 415  # and not 503: the room for bodies is free again, too
    asyncio.run(everybody(server.port, requests))


async def everybody(port: int, requests: list[Request]) -> None:
    """One of each, and all stay."""
    async with asyncio.TaskGroup() as callers:
        for request in requests:
            callers.create_task(stays(port, request))


def settled(server: Server, before: dict[str, float] | None) -> None:
    """Waits until the house is empty, and as it was before."""
    give_up = time.monotonic() + PATIENCE
    while True:
        now = idle(server)
        empty = not any(now[name] for name in IDLE if name != "process_open_fds")
        if now == before or (before is None and empty):
            return
        assert time.monotonic() < give_up, (before, now)
        time.sleep(0.1)
