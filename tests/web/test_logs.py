"""The log is for operators: one JSON object a line, with nothing of what must stay secret."""

from __future__ import annotations

import json
import logging
import socket
import struct
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from app.main import create_app, create_service
from app.policies import Scope
from app.settings import Settings
from app.web.api_keys import new_key
from tests.helpers.files import XMP, exif, saved, scene
from tests.helpers.server import Server, serving

SECRETS = ("MAKER NOTE", "1234567", "48.", "48,12", "JFIF")


def test_what_is_logged(tmp_path: Path) -> None:
    """Every request is a line with its ID, holder and outcome; no photo, place or key is in it."""
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


def test_a_damaged_file_is_not_quoted(tmp_path: Path) -> None:
    """Found by fuzzing: a TIFF of broken tags wrote a line for each of them, with its bytes."""
    tags = b"".join(struct.pack("<HHII", 270 + n, 2, 500, 2**31) for n in range(2000))
    photo = b"II*\0\x08\0\0\0" + struct.pack("<H", 2000) + tags + bytes(4)
    log = tmp_path / "log"
    with serving(log) as server:
        assert 400 <= server.client.post("/enhance", content=photo).status_code < 500
    lines = [json.loads(line) for line in log.read_text().split("\n") if line]
    assert {line["logger"] for line in lines} == {"clut.request", "uvicorn.error"}


def inject(server: Server) -> None:
    """Tries to write lines of one's own into the log."""
    forged = '%0A{"message":"forged"}%0D%0A%1B[31m%E2%80%A8'
    server.client.get(f"/{forged}")
    server.client.get("/readyz", headers={"X-Request-ID": 'a"} {"message":"forged"}'})
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as caller:
        caller.sendall(b'GET /\n{"message":"forged"} HTTP/1.1\r\nHost: x\r\n\r\n')
        caller.recv(65536)


@pytest.mark.anyio
async def test_a_fault_is_told_to_operators_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The caller learns that it happened and its request ID; the log learns what it was."""
    app = faulty()
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app) as state,
        httpx.AsyncClient(transport=with_state(transport, state), base_url="http://x") as client,
    ):
        answer = await client.get("/fault", headers={"X-Request-ID": "r-1"})
    assert answer.status_code == 500
    assert answer.json()["type"] == "/problems#internal"
    assert answer.json()["request_id"] == "r-1"
    assert "password" not in answer.text
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.request_id == "r-1"
    assert record.exc_info is not None
    assert "password" in str(record.exc_info[1])


def faulty() -> FastAPI:
    """The service with one endpoint that fails."""
    settings = Settings()
    app = create_app(settings, create_service(settings))

    @app.get("/fault")
    async def fault() -> None:
        raise RuntimeError("the password is swordfish")

    return app


def with_state(transport: httpx.ASGITransport, state: object) -> httpx.ASGITransport:
    """Hands the lifespan's state to every request, as a server does."""
    app = transport.app

    async def stateful(scope, receive, send) -> None:
        await app({**scope, "state": dict(state)}, receive, send)

    return httpx.ASGITransport(app=stateful)
