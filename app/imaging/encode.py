"""A photo to bytes: tagged as sRGB, with its metadata."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.errors import BadParameter
from app.imaging.codecs import avif, jpeg, png, tiff, webp
from app.imaging.icc import srgb_profile
from app.imaging.types import Image, ImageFormat, Samples

DEFAULT_QUALITY = {ImageFormat.JPEG: 90, ImageFormat.WEBP: 85, ImageFormat.AVIF: 75}
_MAX_SIDE = {ImageFormat.JPEG: 65_500, ImageFormat.WEBP: 16_383, ImageFormat.AVIF: 32_768}


def encode(photo: Image, image_format: ImageFormat, quality: int | None) -> bytes:
    """Encode a photo.

    16 bits stay 16 in PNG and TIFF and are rounded to 8 elsewhere. Alpha stays, but in JPEG the
    photo is laid on white.

    Args:
        photo: what to encode.
        image_format: an encodable one.
        quality: 1..100 for JPEG, WebP and AVIF, None for the format's default; the lossless
            formats ignore it.

    Raises:
        BadParameter: the format cannot be written, or not at this size.
    """
    _check(photo, image_format)
    profile = srgb_profile()
    grade = quality or DEFAULT_QUALITY.get(image_format, 0)
    match image_format:
        case ImageFormat.JPEG:
            subsampling = photo.subsampling or "420"
            return jpeg.encode(_flatten_alpha(photo), grade, subsampling, photo.metadata, profile)
        case ImageFormat.WEBP:
            return webp.encode(_eight_bits(_samples(photo)), grade, photo.metadata, profile)
        case ImageFormat.AVIF:
            return avif.encode(_eight_bits(_samples(photo)), grade, photo.metadata, profile)
        case ImageFormat.TIFF:
            return tiff.encode(_samples(photo), photo.metadata, profile)
        case _:
            return png.encode(_samples(photo), photo.metadata)


def _check(photo: Image, image_format: ImageFormat) -> None:
    if not image_format.encodable:
        raise BadParameter(f"{image_format.name} is read but not written.")
    most = _MAX_SIDE.get(image_format)
    if most is not None and max(photo.pixels.shape[:2]) > most:
        raise BadParameter(f"A {image_format.name} has at most {most} pixels a side.")


def _samples(photo: Image) -> Samples:
    if photo.alpha is None:
        return photo.pixels
    return np.dstack((photo.pixels, photo.alpha))


def _flatten_alpha(photo: Image) -> NDArray[np.uint8]:
    pixels = _eight_bits(photo.pixels)
    if photo.alpha is None:
        return pixels
    alpha = _eight_bits(photo.alpha)[..., np.newaxis].astype(np.uint16)
    return ((pixels * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _eight_bits(samples: Samples) -> NDArray[np.uint8]:
    """Round to 8 bits."""
    if samples.dtype == np.uint8:
        return samples.view(np.uint8)
    # round(x / 257) within 16 bits: from 65407 on the sum would overflow, and all become 255.
    return ((np.minimum(samples, 65407) + 128) // 257).astype(np.uint8)
