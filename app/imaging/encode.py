"""Encode an image: tagged as sRGB, with its metadata."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from app.errors import BadParameter
from app.imaging.codecs import ImageFormat
from app.imaging.colour import srgb_profile
from app.imaging.raster import EncodeSettings, Image, Samples, split_rows


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
    deep = codec.bit_depth == 16
    samples = _with_alpha(image, deep) if codec.has_alpha else _flatten_alpha(image)
    settings = EncodeSettings(
        quality=quality or codec.default_quality or 0,
        subsampling=image.subsampling or "420",
        metadata=image.metadata,
        profile=srgb_profile(),
        gain_map=image.gain_map,
    )
    return codec.encode(samples, settings)


def _with_alpha(image: Image, deep: bool) -> Samples:
    pixels = image.pixels if deep else _to_8bit(image.pixels)
    if image.alpha is None:
        return pixels
    return np.dstack((pixels, image.alpha if deep else _to_8bit(image.alpha)))


def _flatten_alpha(image: Image) -> NDArray[np.uint8]:
    if image.alpha is None:
        return _to_8bit(image.pixels)
    flat = np.empty(image.pixels.shape, np.uint8)
    for rows in split_rows(*image.alpha.shape):
        pixels = _to_8bit(image.pixels[rows])
        alpha = _to_8bit(image.alpha[rows])[..., np.newaxis].astype(np.uint16)
        flat[rows] = (pixels * alpha + 255 * (255 - alpha) + 127) // 255
    return flat


def _to_8bit(samples: Samples) -> NDArray[np.uint8]:
    """Round (H, W, ...) to 8 bits."""
    if samples.dtype == np.uint8:
        return samples.view(np.uint8)
    rounded = np.empty(samples.shape, np.uint8)
    for rows in split_rows(*samples.shape[:2]):
        # round(x / 257) within 16 bits: from 65407 on the sum would overflow, and all become 255.
        rounded[rows] = (np.minimum(samples[rows], 65407) + 128) // 257
    return rounded
