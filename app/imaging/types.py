"""The values that the imaging layer hands out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.uint8 | np.uint16]


class ImageFormat(StrEnum):
    """The formats that are read; `encodable` ones are also written."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    AVIF = "avif"
    TIFF = "tiff"
    BMP = "bmp"
    HEIF = "heif"

    @property
    def media_type(self) -> str:
        """The registered media type, e.g. "image/jpeg"."""
        return f"image/{self.value}"

    @property
    def encodable(self) -> bool:
        """Whether `encode` can write it."""
        return self not in (ImageFormat.BMP, ImageFormat.HEIF)


@dataclass(frozen=True)
class Metadata:
    r"""What a photo says about itself, as raw blocks without any container's framing.

    Attributes:
        exif: a TIFF structure (no leading "Exif\0\0"), or None.
        xmp: an XMP packet (UTF-8 XML), or None.
    """

    exif: bytes | None = None
    xmp: bytes | None = None


@dataclass(frozen=True, eq=False)
class Image:
    """A decoded photograph, upright and coded in sRGB.

    Attributes:
        pixels: (H, W, 3) uint8, or uint16 where the source has more than 8 bits; writable,
            C-contiguous, RGB.
        alpha: (H, W) of the same dtype, or None; straight (not premultiplied).
        metadata: EXIF (orientation 1) and XMP of the source.
        format: the format that it was read from.
        subsampling: chroma subsampling of a JPEG source: "444", "422", "420", "440" or "411".
    """

    pixels: Samples
    alpha: Samples | None
    metadata: Metadata
    format: ImageFormat
    subsampling: str | None = None


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
        subsampling: of a JPEG, as in `Image`.
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


def to_raster(decoded: Samples) -> Raster:
    """Take apart gray (H, W[, 1]), gray + alpha (..., 2), RGB (..., 3) or RGBA (..., 4)."""
    samples = decoded[..., np.newaxis] if decoded.ndim == 2 else decoded
    channels = samples.shape[2]
    colours = channels - 1 + channels % 2
    return Raster(
        np.ascontiguousarray(samples[..., :colours]),
        "gray" if colours == 1 else "rgb",
        np.ascontiguousarray(samples[..., -1]) if colours < channels else None,
    )


def scale_to_16bit(samples: Samples, bits: int) -> Samples:
    """Stretch uint16 samples of `bits` (9..16) to 16 bits: the largest becomes 65535."""
    up, down = np.uint16(16 - bits), np.uint16(2 * bits - 16)
    return (samples << up | samples >> down).astype(np.uint16, copy=False)
