"""Encode an image: tagged as sRGB, with its metadata."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from app.errors import BadParameter
from app.imaging.codecs import ImageFormat
from app.imaging.colour import srgb_profile
from app.imaging.raster import EncodeSettings, Image, Samples


class HdrPolicy(StrEnum):
    """The treatment of the gain map of a JPEG."""

    KEEP = "keep"
    DROP = "drop"


def encode(image: Image, image_format: ImageFormat, quality: int | None) -> bytes:
    """Encode an image.

    16 bits stay 16 where the format holds them and are rounded to 8 elsewhere. Alpha is kept, but
    formats without alpha get the image on white.

    Args:
        image: to encode.
        image_format: a writable one.
        quality: 1..100, None for the format's default; lossless formats ignore it.

    Raises:
        BadParameter: the format cannot be written, or not at this size.
    """
    codec = image_format.codec
    if codec.encode is None:
        raise BadParameter(f"{image_format.name} is read but not written.")
    if codec.max_side is not None and max(image.pixels.shape[:2]) > codec.max_side:
        raise BadParameter(f"{image_format.name} has at most {codec.max_side} pixels on a side.")
    samples = _with_alpha(image) if codec.has_alpha else _flatten_alpha(image)
    settings = EncodeSettings(
        quality=quality or codec.default_quality or 0,
        subsampling=image.subsampling or "420",
        metadata=image.metadata,
        profile=srgb_profile(),
        gain_map=image.gain_map,
    )
    return codec.encode(samples if codec.bit_depth == 16 else _to_8bit(samples), settings)


def _with_alpha(image: Image) -> Samples:
    if image.alpha is None:
        return image.pixels
    return np.dstack((image.pixels, image.alpha))


def _flatten_alpha(image: Image) -> NDArray[np.uint8]:
    pixels = _to_8bit(image.pixels)
    if image.alpha is None:
        return pixels
    alpha = _to_8bit(image.alpha)[..., np.newaxis].astype(np.uint16)
    return ((pixels * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _to_8bit(samples: Samples) -> NDArray[np.uint8]:
    """Round to 8 bits."""
    if samples.dtype == np.uint8:
        return samples.view(np.uint8)
    # round(x / 257) within 16 bits: from 65407 on the sum would overflow, and all become 255.
    return ((np.minimum(samples, 65407) + 128) // 257).astype(np.uint8)
