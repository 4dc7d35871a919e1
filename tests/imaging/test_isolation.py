"""Decoders in processes of their own."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.errors import DamagedImage
from app.imaging.isolation import isolated


def test_results_and_errors_come_back() -> None:
    """A call elsewhere answers or raises what it does here."""
    assert isolated(np.square, np.float64(3)) == 9
    with pytest.raises(ValueError, match="invalid literal"):
        isolated(int, "no number")


def test_a_crash_costs_one_call() -> None:
    """Whoever crashes the decoder is told so, and neighbours at that moment get their answers."""
    with ThreadPoolExecutor(4) as callers:
        good = [callers.submit(isolated, pow, 3, n) for n in range(20)]
        crashing = callers.submit(isolated, os.abort)
        more = [callers.submit(isolated, pow, 5, n) for n in range(20)]
        assert [call.result() for call in good] == [3**n for n in range(20)]
        assert [call.result() for call in more] == [5**n for n in range(20)]
        with pytest.raises(DamagedImage, match="decoder crashed"):
            crashing.result()
