"""Fixtures of all tests."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import settings
from PIL import Image, ImageEnhance

from tests.helpers.paths import PHOTOS, SHARED
from tests.helpers.processors import PROCESSORS
from tests.helpers.server import Server, serving

# Before torch, numpy and numba are imported, which read them once. Threads that wait for each other
# sleep: where all cores are busy, spinning takes three times the processor time of the work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if wanted := os.environ.get("TEST_PROCESSOR"):
    os.environ.update(PROCESSORS[wanted])

# Examples have no deadline: the machine may be busy, and the first call of a loop compiles it.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

SLOW_FOLDERS = {"bulk", "web"}  # of tests that are all marked `slow`


@pytest.fixture(autouse=True)
def threads() -> None:
    """Run torch on TEST_THREADS threads, one by default.

    The networks are too small to be shared among cores, whose threads would wait and spin. Every
    test begins with that number: training and the device set others.
    """
    import torch

    torch.set_num_threads(int(os.environ.get("TEST_THREADS", "1")))


@pytest.fixture(scope="session")
def photos() -> Path:
    """Return the folder of test photographs, credited in CREDITS.md beside them."""
    return PHOTOS


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of published results, weights and pairs beside the checkout."""
    return SHARED


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Start the service with its defaults, once for all tests that need no other settings."""
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def client(server: Server) -> httpx.Client:
    """Return the client of the shared server."""
    return server.client


@pytest.fixture(scope="session")
def otters(photos: Path) -> bytes:
    """Read a JPEG of 853x480 pixels."""
    return (photos / "otters.jpg").read_bytes()


@pytest.fixture(scope="session")
def dim(otters: bytes) -> bytes:
    """Darken the otters: unlike a finished photo, one that every look is seen on."""
    buffer = io.BytesIO()
    ImageEnhance.Brightness(Image.open(io.BytesIO(otters))).enhance(0.6).save(
        buffer, "JPEG", quality=95
    )
    return buffer.getvalue()


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes of a parameter by the argument: processes must collect equal names.

    Compressed bytes may hold the time, and so differ between the processes of one run.
    """
    return argname if isinstance(val, bytes) else None


class FailuresAtOnce:
    """Names failed tests at once: a run that is cut short prints no summary."""

    def __init__(self, config: pytest.Config) -> None:
        self._plugins = config.pluginmanager

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print the name of a failed test and its error."""
        terminal = self._plugins.get_plugin("terminalreporter")
        if report.failed and terminal is not None:  # processes of pytest-xdist have no terminal
            lines = report.longreprtext.splitlines()[-5:]
            terminal.write_line("\n".join([f"\nFAILED {report.nodeid}", *lines]))


def pytest_configure(config: pytest.Config) -> None:
    """Register the printer of failures."""
    config.pluginmanager.register(FailuresAtOnce(config))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of whole folders, begin with slow ones, skip those whose data is missing."""
    reason = "the folder of published results, ../shared, is missing"
    for item in items:
        if SLOW_FOLDERS & set(item.path.parts):
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("reference") and not SHARED.is_dir():
            item.add_marker(pytest.mark.skip(reason=reason))
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)  # so that no process waits


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Coroutine tests run on asyncio, as the service does."""
    return "asyncio"
