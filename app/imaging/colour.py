"""Colours: conversion to sRGB by Little CMS, and the ICC profiles that are made here.

The intent is relative colorimetric with black point compensation: for the profiles of phones and
cameras (a matrix and curves) every intent gives the colours of browsers; for the table profiles of
prints it is Photoshop's default, and keeps contrast.

Little CMS receives profiles with the tags alone whose cost is bounded. Layout: ICC.1:2022, sections
7.2 and 7.3 (header and tag table), 10.10 to 10.12 (tables).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import imagecodecs
import numpy as np

from app.imaging.raster import ColourSpace, Raster, Samples, split_rows

_FLAGS = imagecodecs.CMS.FLAGS
_ICC_SPACES = {b"GRAY": "gray", b"RGB ": "rgb", b"CMYK": "cmyk"}
_ICC_SPACE, _ICC_SIGNATURE = slice(16, 20), slice(36, 40)
LARGEST_SRGB = 1 << 16  # bytes; profiles that mean sRGB are small, and are kept in a cache
_HEADER = 128  # bytes
_TABLE = _HEADER + 4  # where the entries of the tag table begin, behind their number
_ENTRY = struct.Struct(">4sII")  # signature, offset and size of a tag
_MAX_TAGS = 100  # Little CMS reads no more
_TABLES = frozenset({b"A2B0", b"A2B1", b"A2B2", b"B2A0", b"B2A1", b"B2A2"})
# Multi-process elements (D2B0 and others) are missing: a table of a few kilobytes may hold hundreds
# of thousands of them, each of which costs time for every pixel.
_USED = _TABLES | frozenset(
    {b"wtpt", b"bkpt", b"chad", b"kTRC", b"rTRC", b"gTRC", b"bTRC", b"rXYZ", b"gXYZ", b"bXYZ"}
)


def to_srgb(raster: Raster, profile: bytes | None) -> Samples:
    """Convert the colours to (H, W, 3) sRGB of the same dtype.

    A profile that is damaged, or is for other channels than the raster has, is ignored, as
    browsers do.
    """
    samples, space = raster.samples, raster.space
    if space == "lab":
        return _transform(samples, space, _lab_profile())
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
    # For 16 bits and CIELAB Little CMS would resample the conversion on a 33^3 grid, which is off
    # by up to 14 levels of 256; its 8-bit shortcut is exact.
    exact = _FLAGS.NOOPTIMIZE if samples.dtype == np.uint16 or space == "lab" else 0
    converted: Samples = imagecodecs.cms_transform(
        samples,
        reduce_profile(profile),
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
    """Return whether RGB samples with a profile are sRGB within a level, whatever its name.

    Profiles of another space than RGB, and damaged ones, are ignored, so they count as sRGB.
    """
    if _space(profile) != "rgb":
        return True
    return len(profile) <= LARGEST_SRGB and _is_identity(profile)


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


# ITU-T H.273, tables 2 and 3: x, y of white, red, green and blue.
_D65 = (0.3127, 0.3290)
_C = (0.310, 0.316)
_CHROMATICITIES = {
    1: (*_D65, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060),  # BT.709
    4: (*_C, 0.670, 0.330, 0.210, 0.710, 0.140, 0.080),  # NTSC of 1953
    5: (*_D65, 0.640, 0.330, 0.290, 0.600, 0.150, 0.060),  # BT.601, 625 lines
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),  # BT.601, 525 lines
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),  # SMPTE 240M
    8: (*_C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),  # film
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # DCI P3
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
    22: (*_D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),  # EBU 3213
}
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
# BT.709 and BT.2020 video curves are shown as sRGB by every browser; so is 2, "unspecified".
_SRGB_LIKE = frozenset({1, 2, 6, 13, 14, 15})
_DATE_TIME = slice(24, 36)


@lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    """Return the sRGB profile, 588 bytes, the same at every start."""
    profile = bytearray(imagecodecs.cms_profile("srgb"))
    profile[_DATE_TIME] = bytes.fromhex("07ea 0001 0001 0000 0000 0000")
    return bytes(profile)


@lru_cache(maxsize=1)
def _lab_profile() -> bytes:
    """Return the profile of CIELAB relative to its own white, whatever that is."""
    profile: bytes = imagecodecs.cms_profile("lab4")
    return profile


@lru_cache(maxsize=16)
def cicp_profile(primaries: int, transfer: int) -> bytes | None:
    """Make the profile for the code points of a cICP chunk or an nclx box.

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
    """Make the profile for PNG's gAMA and cHRM: x, y of white, red, green and blue.

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


def reduce_profile(profile: bytes) -> bytes:
    """Return a profile without the tags that colour conversion does not need, or cannot hold.

    Matrices, curves and tables (A2B and B2A) stay, unless a table has more entries than bytes.
    """
    if len(profile) < _TABLE:
        return profile
    (count,) = struct.unpack_from(">I", profile, _HEADER)
    entries = profile[_TABLE : _TABLE + _ENTRY.size * min(count, _MAX_TAGS)]
    entries = entries[: len(entries) // _ENTRY.size * _ENTRY.size]
    kept = [
        entry
        for entry in _ENTRY.iter_unpack(entries)
        if entry[0] in _USED
        and (entry[0] not in _TABLES or _fits(profile[entry[1] : entry[1] + entry[2]]))
    ]
    table = b"".join(_ENTRY.pack(*entry) for entry in kept).ljust(len(entries), b"\0")
    number = struct.pack(">I", len(kept))
    return profile[:_HEADER] + number + table + profile[_TABLE + len(entries) :]


def _fits(tag: bytes) -> bool:
    """Return whether a table, of type lut8, lut16, lutAToB or lutBToA, is as large as it states."""
    if len(tag) < 32:
        return False
    kind, inputs, outputs, grid = tag[:4], tag[8], tag[9], tag[10]
    if kind in (b"mft1", b"mft2"):
        return bool(grid**inputs * outputs * (1 if kind == b"mft1" else 2) <= len(tag))
    if kind not in (b"mAB ", b"mBA "):
        return False
    (offset,) = struct.unpack_from(">I", tag, 24)
    if offset == 0:  # it has curves and matrices alone
        return True
    grids, width = tag[offset : offset + inputs], tag[offset + 16 : offset + 17]
    return (
        len(grids) == inputs
        and width in (b"\1", b"\2")
        and (prod(grids) * outputs * width[0] <= len(tag))
    )
