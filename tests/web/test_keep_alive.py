"""Idle connections: one setting, above the idle time of proxies."""

from __future__ import annotations

import asyncio
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.settings import Settings
from tests.helpers.raw import connect
from tests.helpers.server import free_port, serving
from tests.helpers.waiting import wait_until

PROXY_IDLE = 1  # seconds; nginx's default is 60
MARGIN = 15  # seconds between the two idle times, as between the defaults: 60 and 75
CLIENTS, ROUNDS = 50, 12

CONFIGURATION = """
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder};
    proxy_temp_path {folder};
    fastcgi_temp_path {folder};
    uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    upstream service {{
        server 127.0.0.1:{upstream};
        keepalive {clients};
        keepalive_timeout {idle}s;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://service;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host localhost;
        }}
    }}
}}
"""


@contextmanager
def proxy(upstream: int) -> Iterator[int]:
    """Run nginx in front of a port; yields its own port."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="nginx") as folder:
        Path(folder).chmod(0o777)  # nginx's worker has a user of its own
        file = Path(folder) / "nginx.conf"
        file.write_text(
            CONFIGURATION.format(
                folder=folder, port=port, upstream=upstream, clients=CLIENTS, idle=PROXY_IDLE
            )
        )
        process = subprocess.Popen(["nginx", "-c", str(file), "-g", "daemon off;"])
        try:
            wait_until(lambda: _listens(port))
            yield port
        finally:
            process.terminate()
            process.wait()


def _listens(port: int) -> bool:
    try:
        connect(port).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.anyio
async def test_no_request_through_a_proxy_fails() -> None:
    """POSTs whose pauses are about the proxy's idle time all get the service's response.

    With the server's idle time below the proxy's, nginx sends requests on connections that are
    being closed, and returns 502. A body that is no image costs the service next to nothing.
    """
    limits = httpx.Limits(max_keepalive_connections=CLIENTS)
    with (
        serving(CONNECTION_KEEP_ALIVE_TIMEOUT=PROXY_IDLE + MARGIN) as server,
        proxy(server.port) as port,
    ):
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=60, limits=limits
        ) as client:
            statuses = await asyncio.gather(*(post(client) for _ in range(CLIENTS)))
    counts = [status for each in statuses for status in each]
    assert len(counts) == CLIENTS * ROUNDS
    assert set(counts) == {415}


async def post(client: httpx.AsyncClient) -> list[int]:
    """Send requests with pauses about the proxy's idle time; return the statuses."""
    statuses = []
    for _ in range(ROUNDS):
        response = await client.post("/lut", content=b"no image")
        statuses.append(response.status_code)
        await asyncio.sleep(PROXY_IDLE * random.uniform(0.9, 1.1))  # noqa: S311
    return statuses


def test_the_default_is_above_that_of_proxies() -> None:
    """Proxies keep idle connections for 60 s by default."""
    assert Settings().connection.keep_alive_timeout == 75


@pytest.mark.parametrize(("keep_alive", "header"), [(1.0, 30.0), (6.0, 1.0)])
def test_idle_connections_are_closed_after_the_setting(keep_alive: float, header: float) -> None:
    """The setting alone counts: neither uvicorn's 5 s nor the time for headers."""
    settings = {
        "CONNECTION_KEEP_ALIVE_TIMEOUT": keep_alive,
        "CONNECTION_HEADER_TIMEOUT": header,
    }
    with serving(**settings) as server, connect(server.port) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        response = b""
        while not response.endswith(b"}"):  # head and body may arrive apart
            received = connection.recv(65536)
            assert received
            response += received
        assert response.startswith(b"HTTP/1.1 200")
        begin = time.monotonic()
        assert connection.recv(65536) == b""
        idle = time.monotonic() - begin
    assert idle > keep_alive * 0.9
