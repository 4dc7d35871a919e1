"""Decoders in processes of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from app.errors import DamagedImage
from app.imaging.sandbox import Sandbox


@pytest.fixture
def isolation() -> Iterator[Sandbox]:
    """Processes that are ended with the test."""
    with Sandbox() as isolation:
        yield isolation


def test_results_and_errors_come_back(isolation: Sandbox) -> None:
    """A call elsewhere answers or raises what it does here."""
    assert isolation.run(np.square, np.float64(3)) == 9
    assert isolation.run(os.getpid) != os.getpid()
    with pytest.raises(ValueError, match="invalid literal"):
        isolation.run(int, "no number")


def test_a_crash_costs_one_call(isolation: Sandbox) -> None:
    """Whoever crashes the decoder is told so, and neighbours at that moment get their answers."""
    with ThreadPoolExecutor(4) as callers:
        good = [callers.submit(isolation.run, pow, 3, n) for n in range(20)]
        crashing = callers.submit(isolation.run, os.abort)
        more = [callers.submit(isolation.run, pow, 5, n) for n in range(20)]
        assert [call.result() for call in good] == [3**n for n in range(20)]
        assert [call.result() for call in more] == [5**n for n in range(20)]
        with pytest.raises(DamagedImage, match="decoder crashed"):
            crashing.result()


def test_processes_end_with_their_owner() -> None:
    """Nothing is left running."""
    with Sandbox() as isolation:
        process = isolation.run(os.getpid)
        assert Path(f"/proc/{process}").exists()
    assert not Path(f"/proc/{process}").exists()
