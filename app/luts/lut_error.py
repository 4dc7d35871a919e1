"""Differences: between two LUTs, and between two colours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import atan2, cos, degrees, exp, pi, radians, sin, sqrt
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.jit import jit
from app.luts.lut3d import Lut3D

_GRID = 86  # points per axis: every third 8-bit level


@dataclass(frozen=True)
class ErrorStats:
    """The worst and the mean difference of the outputs of two LUTs, in 8-bit levels."""

    worst: float
    mean: float

    def __add__(self, other: ErrorStats) -> ErrorStats:
        """Return the most that two errors in turn make."""
        return ErrorStats(self.worst + other.worst, self.mean + other.mean)

    def __str__(self) -> str:
        return f"max={self.worst:.1f}, mean={self.mean:.2f}"


def lut_error(lut: Lut3D, other: Lut3D) -> ErrorStats:
    """Compare the outputs of two LUTs, clamped to 0..1, on a grid of colours.

    The outputs are interpolated trilinearly. If one lattice contains the other, the grid is the
    finer lattice and the middles between its points: both LUTs are linear in between, except
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


Lab: TypeAlias = tuple[float, float, float]

SRGB_TO_XYZ = np.array(  # of linear sRGB, relative to the white point D65 (IEC 61966-2-1)
    [
        [0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883],
    ]
)
XYZ_TO_LAB = np.array([[0.0, 116.0, 0.0], [500.0, -500.0, 0.0], [0.0, 200.0, -200.0]])
_25_TO_7 = 25.0**7


def mean_difference(pixels: NDArray[Any], others: NDArray[Any]) -> float:
    """Return the mean CIEDE2000 difference of two arrays (N, 3) of sRGB, uint8 or uint16 both."""
    return _mean_difference(pixels, others, _linear_light(np.iinfo(pixels.dtype).max))


@lru_cache
def _linear_light(top: int) -> NDArray[np.float64]:
    """Return the linear light in 0..1 of the levels 0..top of sRGB (IEC 61966-2-1)."""
    coded = np.linspace(0, 1, top + 1)
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)


@jit
def _mean_difference(
    pixels: NDArray[Any], others: NDArray[Any], linear: NDArray[np.float64]
) -> float:
    total = 0.0
    for i in range(len(pixels)):
        one, other = pixels[i], others[i]
        total += ciede2000(
            linear_to_lab(linear[one[0]], linear[one[1]], linear[one[2]]),
            linear_to_lab(linear[other[0]], linear[other[1]], linear[other[2]]),
        )
    return total / len(pixels)


@jit
def linear_to_lab(red: float, green: float, blue: float) -> Lab:
    """Convert linear sRGB in 0..1 to CIELAB of the white point D65."""
    to_xyz = SRGB_TO_XYZ
    x = _lab_root(to_xyz[0, 0] * red + to_xyz[0, 1] * green + to_xyz[0, 2] * blue)
    y = _lab_root(to_xyz[1, 0] * red + to_xyz[1, 1] * green + to_xyz[1, 2] * blue)
    z = _lab_root(to_xyz[2, 0] * red + to_xyz[2, 1] * green + to_xyz[2, 2] * blue)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@jit
def _lab_root(value: float) -> float:
    return float(np.cbrt(value)) if value > 216 / 24389 else value * (841 / 108) + 4 / 29


@jit
def ciede2000(lab: Lab, other: Lab) -> float:
    """Compute the CIEDE2000 difference of two colours in CIELAB, with kL = kC = kH = 1."""
    (l1, a1, b1), (l2, a2, b2) = lab, other
    stretch = 1.5 - 0.5 * _saturate((_length(a1, b1) + _length(a2, b2)) / 2)  # 1 + G
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = _length(a1, b1), _length(a2, b2)
    h1, h2 = atan2(b1, a1), atan2(b2, a2)
    turn, mean_hue = 0.0, h1 + h2  # the hue of gray is undefined
    if c1 * c2 > 0:
        turn = (h2 - h1 + pi) % (2 * pi) - pi
        mean_hue = h1 + turn / 2
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    t = (
        1
        - 0.17 * cos(mean_hue - radians(30))
        + 0.24 * cos(2 * mean_hue)
        + 0.32 * cos(3 * mean_hue + radians(6))
        - 0.20 * cos(4 * mean_hue - radians(63))
    )
    off_mid = (mean_l - 50) ** 2
    lightness = (l2 - l1) / (1 + 0.015 * off_mid / sqrt(20 + off_mid))
    chroma = (c2 - c1) / (1 + 0.045 * mean_c)
    hue = 2 * sqrt(c1 * c2) * sin(turn / 2) / (1 + 0.015 * mean_c * t)
    blueness = radians(30) * exp(-(((degrees(mean_hue) % 360 - 275) / 25) ** 2))
    rotation = -2 * _saturate(mean_c) * sin(2 * blueness)
    return sqrt(max(0.0, lightness**2 + chroma**2 + hue**2 + rotation * chroma * hue))


@jit
def _saturate(chroma: float) -> float:
    to_7 = chroma**7
    return sqrt(to_7 / (to_7 + _25_TO_7))


@jit
def _length(a: float, b: float) -> float:
    return sqrt(a * a + b * b)
