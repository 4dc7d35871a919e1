"""Differences: between two LUTs, and between two colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

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


Floats: TypeAlias = NDArray[np.float64]

SRGB_TO_XYZ = np.array(  # of linear sRGB, relative to the white point D65 (IEC 61966-2-1)
    [
        [0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883],
    ]
)
XYZ_TO_LAB = np.array([[0.0, 116.0, 0.0], [500.0, -500.0, 0.0], [0.0, 200.0, -200.0]])
_25_TO_7 = 25.0**7


def mean_difference(colours: NDArray[Any], others: NDArray[Any]) -> float:
    """Return the mean CIEDE2000 difference of two arrays (..., 3) of sRGB in 0..1."""
    return float(ciede2000(srgb_to_lab(colours), srgb_to_lab(others)).mean())


def srgb_to_lab(colours: NDArray[Any]) -> Floats:
    """Convert sRGB (..., 3) in 0..1 to CIELAB of the white point D65."""
    coded = colours.astype(np.float64)
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    xyz = linear @ SRGB_TO_XYZ.T
    roots = np.where(xyz > 216 / 24389, np.cbrt(xyz), xyz * (841 / 108) + 4 / 29)
    lab: Floats = roots @ XYZ_TO_LAB.T - (16.0, 0.0, 0.0)
    return lab


def ciede2000(lab: Floats, other: Floats) -> Floats:
    """Compute the CIEDE2000 difference of colours (..., 3) in CIELAB, with kL = kC = kH = 1."""
    (l1, a1, b1), (l2, a2, b2) = np.moveaxis(lab, -1, 0), np.moveaxis(other, -1, 0)
    mean_chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * _saturate(mean_chroma)  # 1 + G
    c1, c2 = np.hypot(a1 * stretch, b1), np.hypot(a2 * stretch, b2)
    h1, h2 = _hue(a1 * stretch, b1), _hue(a2 * stretch, b2)
    coloured = c1 * c2 > 0  # the hue of gray is undefined
    turn = np.where(coloured, (h2 - h1 + 180) % 360 - 180, 0.0)
    mean_hue = np.where(coloured, h1 + turn / 2, h1 + h2)
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    t = (
        1
        - 0.17 * _cos(mean_hue - 30)
        + 0.24 * _cos(2 * mean_hue)
        + 0.32 * _cos(3 * mean_hue + 6)
        - 0.20 * _cos(4 * mean_hue - 63)
    )
    off_mid = (mean_l - 50) ** 2
    lightness = (l2 - l1) / (1 + 0.015 * off_mid / np.sqrt(20 + off_mid))
    chroma = (c2 - c1) / (1 + 0.045 * mean_c)
    hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * mean_c * t)
    blueness = 30 * np.exp(-((((mean_hue % 360) - 275) / 25) ** 2))
    rotation = -2 * _saturate(mean_c) * np.sin(np.radians(2 * blueness))
    squared: Floats = lightness**2 + chroma**2 + hue**2 + rotation * chroma * hue
    return np.sqrt(np.maximum(squared, 0.0))


def _saturate(chroma: Floats) -> Floats:
    return np.sqrt(chroma**7 / (chroma**7 + _25_TO_7))


def _hue(a: Floats, b: Floats) -> Floats:
    """Return the hue angle in degrees, in 0..360."""
    return np.degrees(np.arctan2(b, a)) % 360


def _cos(degrees: Floats) -> Floats:
    return np.cos(np.radians(degrees))
