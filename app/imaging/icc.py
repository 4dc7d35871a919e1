"""ICC profiles made here: the sRGB that answers carry, and those of pictures that have none."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import imagecodecs
import numpy as np

# ITU-T H.273, tables 2 and 3: x, y of white, red, green and blue.
_D65 = (0.3127, 0.3290)
_CHROMATICITIES = {
    1: (*_D65, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060),  # BT.709
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
}
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
# BT.709 and BT.2020 video curves are shown as sRGB by every browser; so is 2, "unspecified".
_SRGB_LIKE = frozenset({1, 2, 6, 13, 14, 15})
_DATE_TIME = slice(24, 36)


@lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    """The sRGB profile, 588 bytes, the same at every start."""
    profile = bytearray(imagecodecs.cms_profile("srgb"))
    profile[_DATE_TIME] = bytes.fromhex("07ea 0001 0001 0000 0000 0000")
    return bytes(profile)


@lru_cache(maxsize=16)
def cicp_profile(primaries: int, transfer: int) -> bytes | None:
    """The profile for the code points of a cICP chunk or an nclx box.

    None where it is sRGB, unspecified, or an HDR curve (PQ, HLG): no ICC profile describes
    these.
    """
    if primaries not in _CHROMATICITIES:
        return None
    if transfer in _SRGB_LIKE:
        return None if primaries == 1 else _profile(_CHROMATICITIES[primaries], None)
    if transfer in _GAMMAS:
        return _profile(_CHROMATICITIES[primaries], _GAMMAS[transfer])
    return None


def gamma_profile(gamma: float, chromaticities: Sequence[float]) -> bytes:
    """The profile for PNG's gAMA and cHRM: x, y of white, red, green and blue.

    Args:
        gamma: the exponent from samples to light, e.g. 2.2.
        chromaticities: eight numbers.
    """
    return _profile(chromaticities, gamma)


def _profile(chromaticities: Sequence[float], gamma: float | None) -> bytes:
    pairs = zip(chromaticities[::2], chromaticities[1::2], strict=True)
    points = [value for x, y in pairs for value in (x, y, 1.0)]  # as xyY, white first
    curve = {"gamma": gamma} if gamma else {"transferfunction": _srgb_to_light()}
    profile: bytes = imagecodecs.cms_profile(
        "rgb", whitepoint=points[:3], primaries=points[3:], **curve
    )
    return profile


def _srgb_to_light() -> np.ndarray:
    coded = np.linspace(0, 1, 4096)
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4).astype(
        np.float32
    )
