"""Whatever a file's colours are to sRGB, by Little CMS.

The intent is relative colorimetric with black point compensation: for the profiles of phones and
cameras (a matrix and curves) every intent gives what browsers show; for the table profiles of
prints it is what Photoshop does by default, and keeps contrast.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import imagecodecs
import numpy as np

from app.imaging.icc import srgb_profile
from app.imaging.raster import ColourSpace, Raster, Samples, split_rows

_FLAGS = imagecodecs.CMS.FLAGS
_ICC_SPACES = {b"GRAY": "gray", b"RGB ": "rgb", b"CMYK": "cmyk"}
_ICC_SPACE, _ICC_SIGNATURE = slice(16, 20), slice(36, 40)
_LARGEST_SRGB = 1 << 16  # bytes; profiles that mean sRGB are small, and the verdicts are cached


def to_srgb(raster: Raster, profile: bytes | None) -> Samples:
    """The colours as (H, W, 3) sRGB, of the same dtype.

    A profile that is damaged, or is for other channels than the raster has, is ignored, as
    browsers do.
    """
    samples, space = raster.samples, raster.space
    if space == "gray" and _space(profile) == "rgb":
        samples, space = _repeat(samples), "rgb"
    if profile and _space(profile) == space and not (space == "rgb" and is_srgb(profile)):
        try:
            return _transform(samples, space, profile)
        except imagecodecs.CmsError:
            pass
    return _without_profile(samples, space)


def _without_profile(samples: Samples, space: ColourSpace) -> Samples:
    if space == "gray":
        return _repeat(samples)
    if space == "cmyk":
        return _naive_rgb(samples)
    return samples


def _space(profile: bytes | None) -> str | None:
    if not profile or profile[_ICC_SIGNATURE] != b"acsp":
        return None
    return _ICC_SPACES.get(profile[_ICC_SPACE])


def _transform(samples: Samples, space: ColourSpace, profile: bytes) -> Samples:
    # For 16 bits Little CMS would resample the conversion on a 33^3 grid, which is off by up to
    # 14 levels of 256; its 8-bit shortcut is exact.
    exact = _FLAGS.NOOPTIMIZE if samples.dtype == np.uint16 else 0
    converted: Samples = imagecodecs.cms_transform(
        samples,
        profile,
        srgb_profile(),
        colorspace=space,
        outcolorspace="rgb",
        planar=False,
        outplanar=False,
        intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
        flags=_FLAGS.BLACKPOINTCOMPENSATION | exact,
    )
    return converted.reshape(*samples.shape[:2], 3)


def is_srgb(profile: bytes) -> bool:
    """Tell whether RGB samples with a profile are sRGB within a level, whatever its name.

    Profiles of another space than RGB, and damaged ones, are ignored, so they count as sRGB.
    """
    if _space(profile) != "rgb":
        return True
    return len(profile) <= _LARGEST_SRGB and _is_identity(profile)


@lru_cache(maxsize=64)
def _is_identity(profile: bytes) -> bool:
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    probes = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    try:
        converted = _transform(probes, "rgb", profile)
    except imagecodecs.CmsError:
        return True
    return bool(np.abs(converted.astype(np.int16) - probes).max() <= 1)


def _repeat(gray: Samples) -> Samples:
    return np.repeat(gray, 3, axis=2)


def _naive_rgb(ink: Samples) -> Samples:
    full = np.iinfo(ink.dtype).max
    wide: type[np.unsignedinteger[Any]] = np.uint16 if full == 255 else np.uint32  # for products
    rgb = np.empty((*ink.shape[:2], 3), ink.dtype)
    for rows in split_rows(*ink.shape[:2]):
        light = (full - ink[rows]).astype(wide)
        rgb[rows] = (light[..., :3] * light[..., 3:] + full // 2) // full
    return rgb
