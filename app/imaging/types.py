"""The decoded image that the imaging layer hands out."""

from __future__ import annotations

from dataclasses import dataclass

from app.imaging.codecs import ImageFormat
from app.imaging.raster import Metadata, Samples


@dataclass(frozen=True, eq=False)
class Image:
    """A decoded image, upright and in sRGB.

    Attributes:
        pixels: (H, W, 3) uint8, or uint16 where the source has more than 8 bits; writable,
            C-contiguous, RGB.
        alpha: (H, W) of the same dtype, or None; straight (not premultiplied).
        metadata: EXIF (orientation 1) and XMP of the source.
        format: the format that it was read from.
        subsampling: chroma subsampling of a JPEG source, as in `Header`.
        gain_map: as in `Header`; None if the image was turned, because it would have to be, too.
        notes: what was done to the image that clients may not expect, such as "tone-mapped".
    """

    pixels: Samples
    alpha: Samples | None
    metadata: Metadata
    format: ImageFormat
    subsampling: str | None = None
    gain_map: bytes | None = None
    notes: tuple[str, ...] = ()
