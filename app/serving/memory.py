"""The memory that a request for an image is charged, known before anything is decoded."""

from __future__ import annotations

from math import ceil

from app.imaging.codecs import ImageFormat
from app.imaging.probe import EncodedImage
from app.serving.options import EnhanceOptions


def enhance_memory(source: EncodedImage, options: EnhanceOptions, image_format: ImageFormat) -> int:
    """Return the most bytes of memory that enhancing an image takes.

    Args:
        source: the image.
        options: hold the size of the result.
        image_format: of the result.
    """
    longer = max(source.width, source.height)
    scale = min(1.0, (options.max_side or longer) / longer)
    each = image_format.codec.encode_bytes[source.header.bits > 8]
    return max(source.peak_bytes, ceil(source.pixels * scale**2) * each)


def thumbnail_memory(source: EncodedImage, side: int) -> int:
    """Return the most bytes of memory that making the thumbnail alone takes."""
    return ceil(source.peak_bytes * source.thumbnail_pixels(side) / source.pixels)
