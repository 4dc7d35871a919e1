from __future__ import annotations

import numpy as np
import pytest

from app.luts.lut3d import Lut3D
from app.luts.lut_error import lut_error


def test_a_lut_has_no_error_against_itself(adaptive_look: Lut3D) -> None:
    """The worst and the mean error are zero, and so is their text."""
    same = lut_error(adaptive_look, adaptive_look)
    assert (same.worst, same.mean) == (0, 0)
    assert str(same) == "max=0.0, mean=0.00"


def test_a_finer_lattice_that_contains_the_old_one_loses_nothing(look: Lut3D) -> None:
    """The error of 65 positions against 33 is zero but for rounding."""
    assert lut_error(look, look.resample(65)).worst < 0.01


def test_the_unit_is_an_8_bit_level() -> None:
    """A LUT that adds three levels to red has a worst error of three and a mean of one."""
    table = Lut3D.identity(3).table
    brighter = Lut3D(0.9 * table + np.array([3 / 255, 0, 0], np.float32))
    found = lut_error(Lut3D(0.9 * table), brighter)
    assert (found.worst, found.mean) == pytest.approx((3, 1), abs=1e-4)


def test_outputs_are_clamped_before_they_are_compared(look: Lut3D) -> None:
    """Two LUTs that differ below 0 alone both map to black."""
    black = Lut3D(np.full((2, 2, 2, 3), -0.1, np.float32))
    blacker = Lut3D(np.full((2, 2, 2, 3), -0.3, np.float32))
    assert lut_error(black, blacker).worst == 0


def test_the_worst_error_is_near_that_of_random_colours(adaptive_look: Lut3D) -> None:
    """The grid may miss the worst colour, but not by much."""
    resampled = adaptive_look.resample(33)
    colours = np.random.default_rng(5).random((100_000, 3))
    outputs = [lut.evaluate(colours).clip(0, 1) for lut in (adaptive_look, resampled)]
    worst = 255 * np.abs(outputs[0] - outputs[1]).max()
    found = lut_error(adaptive_look, resampled)
    assert found.worst > 0.8 * worst > 0.2
    assert found.mean < found.worst
