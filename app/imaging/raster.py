"""What a container holds, before it becomes a `Photo`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from app.imaging.photo import Metadata, Samples

ColourSpace = Literal["gray", "rgb", "cmyk"]


@dataclass(frozen=True)
class Header:
    """What a file says before any pixel is decoded.

    Attributes:
        width: in pixels, as stored.
        height: in pixels, as stored.
        frames: how many pictures of equal rank the file holds.
        orientation: 1..8 as in EXIF; the stored picture must be turned by it.
        profile: an ICC profile, or None for sRGB.
        metadata: EXIF and XMP as found.
        subsampling: of a JPEG, as in `Photo`.
    """

    width: int
    height: int
    frames: int = 1
    orientation: int = 1
    profile: bytes | None = None
    metadata: Metadata = field(default_factory=Metadata)
    subsampling: str | None = None


@dataclass(frozen=True, eq=False)
class Raster:
    """Decoded samples in the colour space of the file, as stored (not turned).

    Attributes:
        samples: (H, W, 1 | 3 | 4) uint8 or uint16 over their full range; CMYK counts ink.
        space: what the channels mean.
        alpha: (H, W) of the same dtype, straight, or None.
    """

    samples: Samples
    space: ColourSpace
    alpha: Samples | None = None


def raster_of(decoded: Samples) -> Raster:
    """Take apart gray (H, W[, 1]), gray + alpha (..., 2), RGB (..., 3) or RGBA (..., 4)."""
    samples = decoded[..., np.newaxis] if decoded.ndim == 2 else decoded
    channels = samples.shape[2]
    colours = channels - 1 + channels % 2
    return Raster(
        np.ascontiguousarray(samples[..., :colours]),
        "gray" if colours == 1 else "rgb",
        np.ascontiguousarray(samples[..., -1]) if colours < channels else None,
    )


def widened(samples: Samples, bits: int) -> Samples:
    """Stretch uint16 samples of `bits` (9..16) to 16 bits: the largest becomes 65535."""
    up, down = np.uint16(16 - bits), np.uint16(2 * bits - 16)
    return (samples << up | samples >> down).astype(np.uint16, copy=False)
