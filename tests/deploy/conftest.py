"""What operators run, run for real."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.conftest import PHOTOS
from tests.prometheus import Prometheus, prometheus
from tests.server import Server, serving

CROWD = 12  # requests at once, where two are let in


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has seen a service under a mixed load."""
    folder = tmp_path_factory.mktemp("prometheus")
    with (
        serving(ADMISSION_MAX_REQUESTS=2) as server,
        prometheus(server.port, folder) as watching,
    ):
        for _ in range(2):  # a rate needs every counter twice
            mixed_load(server)
            done = server.client.get("/metrics").text
            sent = next(line for line in done.splitlines() if line.startswith("clut_sent_bytes_to"))
            watching.eventually(f"clut_sent_bytes_total >= {sent.split()[1]}")
        yield watching


def mixed_load(server: Server) -> None:
    """Photos, LUTs, a crowd that is too large, bodies that are no photos, a caller who departs."""
    photo = (PHOTOS / "otters.jpg").read_bytes()
    answers = [server.client.post(path, content=photo) for path in ("/enhance", "/lut")]
    assert {answer.status_code for answer in answers} == {200}
    assert server.client.post("/enhance", content=b"not a photo").status_code == 415
    assert 503 in crowd(server.client, photo)
    with socket.create_connection(("127.0.0.1", server.port)) as caller:
        caller.sendall(b"POST /enhance HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n...")


def crowd(client: httpx.Client, photo: bytes) -> set[int]:
    """The statuses that many callers at once get."""
    with ThreadPoolExecutor(CROWD) as callers:
        answers = callers.map(lambda _: client.post("/enhance", content=photo), range(CROWD))
        return {answer.status_code for answer in answers}
