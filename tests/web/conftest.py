"""One server for all the tests that do not need it in a special way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.helpers.server import Server, serving


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The service with its defaults and its embedded model."""
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def client(server: Server) -> httpx.Client:
    """Speaks to the server."""
    return server.client


@pytest.fixture(scope="session")
def otters(photos: Path) -> bytes:
    """A JPEG of 853x480 pixels."""
    return (photos / "otters.jpg").read_bytes()
