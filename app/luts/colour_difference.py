"""How different two images look: CIEDE2000.

Sharma, Wu and Dalal, "The CIEDE2000 Color-Difference Formula: Implementation Notes, Supplementary
Test Data, and Mathematical Observations", Color Research and Application, 2005.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

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
