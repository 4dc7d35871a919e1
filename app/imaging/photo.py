"""The values that the imaging layer hands out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

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
class Photo:
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
