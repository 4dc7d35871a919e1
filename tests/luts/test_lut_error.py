from __future__ import annotations

import numpy as np
import pytest

from app.luts.lut3d import Lut3D
from app.luts.lut_error import lut_error


def test_a_lut_does_not_differ_from_itself(adaptive_look: Lut3D) -> None:
    """Worst and mean are nothing, and read so."""
    same = lut_error(adaptive_look, adaptive_look)
    assert (same.worst, same.mean) == (0, 0)
    assert str(same) == "max=0.0, mean=0.00"


def test_a_finer_table_without_a_shaper_is_no_other(look: Lut3D) -> None:
    """Where all positions of the old lattice are among the new ones, nothing is lost."""
    assert lut_error(look, look.resampled(65)).worst < 0.01


def test_the_unit_is_an_8_bit_level() -> None:
    """A LUT that adds three levels to red differs by three at worst and by one on the mean."""
    table = Lut3D.identity(3).table
    brighter = Lut3D(0.9 * table + np.array([3 / 255, 0, 0], np.float32))
    found = lut_error(Lut3D(0.9 * table), brighter)
    assert (found.worst, found.mean) == pytest.approx((3, 1), abs=1e-4)


def test_what_no_pixel_shows_does_not_count(look: Lut3D) -> None:
    """Answers are clamped before they are compared: black stays black."""
    black = Lut3D(np.full((2, 2, 2, 3), -0.1, np.float32))
    blacker = Lut3D(np.full((2, 2, 2, 3), -0.3, np.float32))
    assert lut_error(black, blacker).worst == 0


def test_the_worst_colour_is_found(adaptive_look: Lut3D) -> None:
    """It is not less than the worst of a random sample, but for what lies between the grid."""
    resampled = adaptive_look.resampled(33)
    colours = np.random.default_rng(5).random((100_000, 3))
    answers = [lut.evaluate(colours).clip(0, 1) for lut in (adaptive_look, resampled)]
    worst = 255 * np.abs(answers[0] - answers[1]).max()
    found = lut_error(adaptive_look, resampled)
    assert found.worst > 0.8 * worst > 0.2
    assert found.mean < found.worst
