"""A load that moves every metric of a service."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.helpers.paths import PHOTOS
from tests.helpers.server import Server

CROWD = 12  # requests at once, where two are let in


def mixed_load(server: Server) -> None:
    """Photos, LUTs, a crowd that is too large, bodies that are no photos, a caller who departs."""
    photo = (PHOTOS / "otters.jpg").read_bytes()
    answers = [server.client.post(path, content=photo) for path in ("/enhance", "/lut")]
    assert {answer.status_code for answer in answers} == {200}
    assert server.client.post("/enhance", content=b"not a photo").status_code == 415
    assert 503 in crowd(server.client, photo)
    with socket.create_connection(("127.0.0.1", server.port)) as caller:
        caller.sendall(
            b"POST /enhance HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n..."
        )


def crowd(client: httpx.Client, photo: bytes) -> set[int]:
    """The statuses that many callers at once get."""
    with ThreadPoolExecutor(CROWD) as callers:
        answers = callers.map(lambda _: client.post("/enhance", content=photo), range(CROWD))
        return {answer.status_code for answer in answers}
