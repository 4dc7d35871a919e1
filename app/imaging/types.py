"""The decoded image that the imaging layer hands out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.imaging.codecs import ImageFormat
from app.imaging.raster import Metadata, Note, Samples


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
        gain_map: a JPEG that makes an HDR image of it, as of `ImageCodec.read_gain_map`, or None.
        notes: what was done to the image that clients may not expect.

    Raises:
        ValueError: the arrays do not have these shapes and types.
    """

    pixels: Samples
    alpha: Samples | None
    metadata: Metadata
    format: ImageFormat
    subsampling: str | None = None
    gain_map: bytes | None = None
    notes: tuple[Note, ...] = ()

    def __post_init__(self) -> None:
        """Check the arrays, on which compiled loops rely: a sandbox process may have sent them."""
        shape, dtype = self.pixels.shape, self.pixels.dtype
        fits = len(shape) == 3 and shape[2] == 3 and dtype in (np.uint8, np.uint16)
        if self.alpha is not None:
            fits = fits and (self.alpha.shape, self.alpha.dtype) == (shape[:2], dtype)
        if not fits:
            raise ValueError(f"no image has {shape} samples of {dtype}")
