"""A load that changes every metric of a service."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.helpers.paths import PHOTOS
from tests.helpers.server import Server

CONCURRENT = 12  # requests, where two are admitted


def mixed_load(server: Server) -> None:
    """Send images, too many at once, a body that is no image, and a request that disconnects."""
    photo = (PHOTOS / "otters.jpg").read_bytes()
    responses = [server.client.post(path, content=photo) for path in ("/enhance", "/lut")]
    assert {response.status_code for response in responses} == {200}
    assert server.client.post("/enhance", content=b"not a photo").status_code == 415
    assert 503 in send_at_once(server.client, photo)
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(
            b"POST /enhance HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n..."
        )


def send_at_once(client: httpx.Client, photo: bytes) -> set[int]:
    """Return the statuses of concurrent requests."""
    with ThreadPoolExecutor(CONCURRENT) as clients:
        responses = clients.map(lambda _: client.post("/enhance", content=photo), range(CONCURRENT))
        return {response.status_code for response in responses}
