"""The difference between two LUTs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.luts.lut3d import Lut3D

_GRID = 86  # positions per axis: every third 8-bit level


@dataclass(frozen=True)
class ErrorStats:
    """The worst and the mean difference of the outputs of two LUTs, in 8-bit levels."""

    worst: float
    mean: float

    def __str__(self) -> str:
        return f"max={self.worst:.1f}, mean={self.mean:.2f}"


def lut_error(lut: Lut3D, other: Lut3D) -> ErrorStats:
    """Compare the outputs of two LUTs, clamped to 0..1, on a grid of colours.

    The outputs are interpolated trilinearly. If one lattice contains the other, the grid is the
    finer lattice and the middles between its positions: both LUTs are linear in between, except
    where they are clamped. Otherwise the grid is 86^3 colours of 8 bits, which takes 25 ms.
    """
    size = _choose_grid(lut, other)
    output, other_output = (it.resample(size).table.clip(0, 1) for it in (lut, other))
    levels = 255 * np.abs(output - other_output)
    return ErrorStats(float(levels.max()), float(levels.mean()))


def _choose_grid(lut: Lut3D, other: Lut3D) -> int:
    coarse, fine = sorted((lut.size, other.size))
    nested = lut.shaper is None and other.shaper is None and (fine - 1) % (coarse - 1) == 0
    return min(2 * fine - 1, _GRID) if nested else _GRID
