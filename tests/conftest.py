"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.helpers.paths import PHOTOS, SHARED
from tests.helpers.processors import PROCESSORS

# Before torch, numpy and numba are imported, which read them once. Threads that wait for each other
# sleep: where all cores are busy, spinning takes three times the processor time of the work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if wanted := os.environ.get("TEST_PROCESSOR"):
    os.environ.update(PROCESSORS[wanted])


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
    """The project's own test photographs, credited in CREDITS.md beside them."""
    return PHOTOS


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of published answers, weights and pairs beside the checkout."""
    return SHARED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the comparisons with published answers where these are not at hand."""
    if SHARED.is_dir():
        return
    reason = "the folder of published answers, ../shared, is not beside this checkout"
    for item in items:
        if item.get_closest_marker("reference"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def anyio_backend() -> str:
    """Coroutine tests run on asyncio, as the service does."""
    return "asyncio"
