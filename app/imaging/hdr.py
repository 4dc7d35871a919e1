"""Tone mapping: HDR images, coded by PQ or HLG, become SDR in sRGB.

Reference white, 203 cd/m2 (ITU-R BT.2408), becomes white. The largest of a pixel's three channels
goes through the roll-off of ITU-R BT.2390 (section 5.4.1), and the other two are scaled alike, so
that hues are kept. Colours outside sRGB are mixed with gray of their luminance until they fit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.imaging.raster import HdrCoding, Samples

TONE_MAPPED: Final = "tone-mapped"  # the note of an image that was HDR

_PQ, _HLG = 16, 18  # ITU-T H.273, table 3
_REFERENCE_WHITE = 203.0  # cd/m2
_HLG_PEAK = 1000.0  # cd/m2, of the display that BT.2100 defines HLG for
_HLG_GAMMA = 1.2  # of the same display
_STRIP = 1 << 16  # pixels that are processed at a time
_SAMPLED = 1 << 20  # pixels of which the peak is measured
_PEAK_SHARE = 99.9  # per cent of the pixels are at most as bright as the peak
_CURVE_POINTS = 1024

Floats = NDArray[np.float32]

# Linear RGB with these primaries and white D65 to linear sRGB, by ITU-T H.273's code points.
_TO_SRGB = {
    9: (  # BT.2020
        (1.660491, -0.587641, -0.072850),
        (-0.124550, 1.132900, -0.008349),
        (-0.018151, -0.100579, 1.118730),
    ),
    12: (  # Display P3
        (1.224940, -0.224940, 0.0),
        (-0.042057, 1.042057, 0.0),
        (-0.019638, -0.078636, 1.098274),
    ),
}
_BT2020_LUMINANCE = np.array((0.2627, 0.6780, 0.0593), np.float32)
_SRGB_LUMINANCE = np.array((0.2126, 0.7152, 0.0722), np.float32)


def read_hdr_coding(primaries: int, transfer: int) -> HdrCoding | None:
    """Return the coding of code points of ITU-T H.273, or None where they are not HDR."""
    if transfer == _PQ:
        return HdrCoding("pq", primaries)
    return HdrCoding("hlg", primaries) if transfer == _HLG else None


def tone_map(samples: Samples, coding: HdrCoding) -> Samples:
    """Convert (H, W, 1 | 3) HDR samples to (H, W, 3) sRGB of the same dtype."""
    step = max(1, int(np.sqrt(samples.shape[0] * samples.shape[1] / _SAMPLED)))
    sampled = _to_light(samples[::step, ::step], coding).max(axis=2)
    roll_off = _roll_off(float(np.percentile(sampled, _PEAK_SHARE)))
    mapped = np.empty((*samples.shape[:2], 3), samples.dtype)
    rows = max(1, _STRIP // samples.shape[1])
    for top in range(0, len(samples), rows):
        light = _to_light(samples[top : top + rows], coding)
        largest = light.max(axis=2, keepdims=True)
        light *= roll_off(largest) / np.maximum(largest, np.float32(1e-6))
        if coding.primaries in _TO_SRGB:
            light = light @ np.array(_TO_SRGB[coding.primaries], np.float32).T
        coded = _to_srgb_curve(_into_gamut(light))
        mapped[top : top + rows] = np.rint(coded * np.iinfo(samples.dtype).max)
    return mapped


def _to_light(samples: Samples, coding: HdrCoding) -> Floats:
    """Return linear light of a display, in which reference white is 1: (H, W, 3)."""
    bits = samples.dtype.itemsize * 8
    pq = coding.transfer == "pq"
    light: Floats = (_pq_table if pq else _hlg_table)(bits)[samples]
    if light.shape[2] == 1:
        light = np.repeat(light, 3, axis=2)
    if not pq:
        luminance = (light @ _BT2020_LUMINANCE)[..., np.newaxis]
        light *= luminance ** np.float32(_HLG_GAMMA - 1)
        light *= np.float32(_HLG_PEAK / _REFERENCE_WHITE)
    return light


@lru_cache(maxsize=2)
def _pq_table(bits: int) -> Floats:
    """Tabulate the EOTF of PQ, BT.2100 table 4."""
    return _pq_to_light(np.linspace(0, 1, 1 << bits)).astype(np.float32)


@lru_cache(maxsize=2)
def _hlg_table(bits: int) -> Floats:
    """Tabulate the inverse OETF of HLG, BT.2100 table 5: light of the scene in 0..1."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    coded = np.linspace(0, 1, 1 << bits)
    return np.where(coded <= 0.5, coded**2 / 3, (np.exp((coded - c) / a) + b) / 12).astype(
        np.float32
    )


_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32


def _pq_to_light(coded: NDArray[np.float64]) -> NDArray[np.float64]:
    root = coded ** (1 / _M2)
    light = (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1)
    return light * (10_000 / _REFERENCE_WHITE)


def _light_to_pq(light: float) -> float:
    root = (light * _REFERENCE_WHITE / 10_000) ** _M1
    return float(((_C1 + _C2 * root) / (1 + _C3 * root)) ** _M2)


def _roll_off(peak: float) -> Callable[[Floats], Floats]:
    """Return the curve that takes light of 0..peak to 0..1; up to a knee it changes nothing."""
    if peak <= 1:
        return lambda light: np.minimum(light, 1)
    source_peak = _light_to_pq(peak)
    white = _light_to_pq(1.0) / source_peak
    knee = 1.5 * white - 0.5
    coded = np.linspace(0, 1, _CURVE_POINTS)
    t = np.maximum(coded - knee, 0) / (1 - knee)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (3 * t**2 - 2 * t**3) * white
    )
    before = _pq_to_light(coded * source_peak)
    after = _pq_to_light(np.where(coded < knee, coded, spline) * source_peak)
    return lambda light: np.interp(light, before, after).astype(np.float32)


def _into_gamut(light: Floats) -> Floats:
    """Mix colours outside 0..1 with gray of their luminance, as little as it takes."""
    gray = np.clip(light @ _SRGB_LUMINANCE, 0, 1)[..., np.newaxis]
    lowest, largest = light.min(axis=2, keepdims=True), light.max(axis=2, keepdims=True)
    tiny = np.float32(1e-6)
    share = np.minimum(
        np.where(lowest < 0, gray / np.maximum(gray - lowest, tiny), 1),
        np.where(largest > 1, (1 - gray) / np.maximum(largest - gray, tiny), 1),
    )
    mixed: Floats = np.clip(gray + share * (light - gray), 0, 1)
    return mixed


def _to_srgb_curve(light: Floats) -> Floats:
    """Apply the curve of sRGB, IEC 61966-2-1, to light of 0..1."""
    curved = np.float32(1.055) * light ** np.float32(1 / 2.4) - np.float32(0.055)
    return np.where(light <= 0.0031308, light * np.float32(12.92), curved)
