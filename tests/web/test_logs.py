"""The log: one JSON object per line, without secrets, bounded, and never in the way."""

from __future__ import annotations

import json
import logging
import os
import struct
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from app.access import Scope, new_key
from app.main import create_app, create_service
from app.settings import Settings
from tests.helpers.files import XMP, exif, saved, scene
from tests.helpers.metrics import samples
from tests.helpers.raw import exchange
from tests.helpers.server import Server, serving

SECRETS = ("MAKER NOTE", "1234567", "48,12", "JFIF")  # times may contain "48."


def test_request_lines(tmp_path: Path) -> None:
    """Each request is a line with ID, key and status; no image data, place or secret is logged."""
    log = tmp_path / "log"
    secret, key = new_key("holiday", frozenset({Scope.ENHANCE}))
    photo = saved(scene(), "JPEG", exif=exif(6), xmp=XMP)
    headers = {"Authorization": f"Bearer {secret}", "X-Request-ID": "trip-7"}
    with serving(log, AUTH_KEYS=f"[{key.model_dump_json(exclude_none=True)}]") as server:
        assert server.client.post("/enhance", content=photo, headers=headers).is_success
        damaged = server.client.post("/enhance?strength=0.5", content=photo[:-900], headers=headers)
        assert damaged.status_code == 422
        server.client.get("/models", headers={"Authorization": "Bearer guess-7f3a"})
        inject(server)
    text = log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    requests = [line for line in lines if line["logger"] == "clut.request"]
    named = [line for line in requests if line["request_id"] == "trip-7"]
    assert [(line["status"], line["key"], line["path"]) for line in named] == [
        (200, "holiday", "/enhance"),
        (422, "holiday", "/enhance"),
    ]
    assert named[0]["received"] == len(photo)
    assert named[0]["seconds"] > 0
    assert [line for line in requests if line["status"] == 401]
    assert all(line["level"] in {"INFO", "WARNING", "ERROR"} for line in lines)
    assert not any(line["message"] == "forged" for line in lines)
    for word in (*SECRETS, secret, key.sha256, "guess-7f3a"):
        assert word not in text


def test_damaged_files_are_not_quoted(tmp_path: Path) -> None:
    """A TIFF of broken tags does not cause a line for each of them (found by fuzzing)."""
    tags = b"".join(struct.pack("<HHII", 270 + n, 2, 500, 2**31) for n in range(2000))
    photo = b"II*\0\x08\0\0\0" + struct.pack("<H", 2000) + tags + bytes(4)
    log = tmp_path / "log"
    with serving(log) as server:
        assert 400 <= server.client.post("/enhance", content=photo).status_code < 500
    lines = [json.loads(line) for line in log.read_text().split("\n") if line]
    assert {line["logger"] for line in lines} == {"clut.request", "uvicorn.error"}


def inject(server: Server) -> None:
    """Try to write lines of the log by a path, a header and a malformed request."""
    forged = '%0A{"message":"forged"}%0D%0A%1B[31m%E2%80%A8'
    server.client.get(f"/{forged}")
    server.client.get("/readyz", headers={"X-Request-ID": 'a"} {"message":"forged"}'})
    exchange(server.port, b'GET /\n{"message":"forged"} HTTP/1.1\r\nHost: localhost\r\n\r\n')


def test_lines_are_bounded(tmp_path: Path) -> None:
    """A header or path of 60 KB does not become a line of 60 KB."""
    log = tmp_path / "log"
    with serving(log) as server:
        headers = {"X-Forwarded-For": "x" * 60_000, "User-Agent": "y" * 1000}
        server.client.get("/" + "z" * 60_000, headers=headers | {"X-Forwarded-For": "1.2.3.4"})
        server.client.get("/livez", headers=headers)
    lines = log.read_text().splitlines()
    clients = [json.loads(line).get("client") for line in lines]
    assert "1.2.3.4" in clients
    assert "x" * 64 in clients
    assert max(map(len, lines)) < 1000


def test_output_without_a_reader(otters: bytes, tmp_path: Path) -> None:
    """The server responds although its standard output is full, and counts the dropped lines."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR)
    try:
        with serving(pipe) as server:
            head = b"GET /%b HTTP/1.1\r\nHost: localhost\r\n" % (b"a" * 200)
            ahead = (head + b"\r\n") * 90 + head + b"Connection: close\r\n\r\n"
            dropped = 0.0
            while not dropped:
                assert exchange(server.port, ahead).count(b"HTTP/1.1 404") == 91
                dropped = samples(server.client)["clut_dropped_log_lines_total", ()]
            assert server.client.post("/lut?size=2", content=otters).status_code == 200
    finally:
        os.close(reader)


@pytest.mark.anyio
async def test_faults_are_described_in_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The response has the request ID; the log has the exception."""
    app = create_faulty_app()
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        response = await client.get("/fault", headers={"X-Request-ID": "r-1"})
    assert response.status_code == 500
    assert response.json()["type"] == "/problems#internal"
    assert response.json()["request_id"] == response.headers["x-request-id"] == "r-1"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "password" not in response.text
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.request_id == "r-1"
    assert record.exc_info is not None
    assert "password" in str(record.exc_info[1])


def create_faulty_app() -> FastAPI:
    """Return the application with one more endpoint, which fails."""
    settings = Settings()
    app = create_app(settings, create_service(settings))

    @app.get("/fault")
    async def fault() -> None:
        raise RuntimeError("the password is swordfish")

    return app
