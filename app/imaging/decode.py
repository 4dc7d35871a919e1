"""Decode images: upright, in sRGB, with a thumbnail for the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.errors import DamagedImage
from app.imaging.colour import to_srgb
from app.imaging.hdr import TONE_MAPPED, tone_map
from app.imaging.metadata import reset_orientation
from app.imaging.probe import EncodedImage, decode_errors
from app.imaging.raster import Crop, Image, Note, Raster, apply_orientation
from app.imaging.resize import fit, make_thumbnail, resize

TRUNCATED: Final = "truncated"  # the note of an image of which a part was missing


class TruncatedPolicy(StrEnum):
    """The treatment of a file that is cut short."""

    REFUSE = "refuse"
    """It is damaged."""
    FILL = "fill"
    """The missing part becomes gray."""


def prepare(
    source: EncodedImage,
    thumbnail_size: int,
    antialias: bool,
    max_side: int | None,
    truncated: TruncatedPolicy = TruncatedPolicy.REFUSE,
) -> tuple[Image, NDArray[np.float32]]:
    """Decode an image, make the thumbnail of all of it, and reduce it to `max_side` pixels.

    Returns:
        The image, and its thumbnail float32 (3, S, S) in 0..1.

    Raises:
        DamagedImage: the pixels cannot be decoded.
    """
    image, thumbnail = source.run(_prepare, thumbnail_size, antialias, max_side, truncated)
    if source.sandbox is not None:
        height, width, _ = image.pixels.shape
        if height * width > source.pixels:
            raise DamagedImage("Its decoder returned more pixels than its header states.")
        check_thumbnail(thumbnail, thumbnail_size)
    return image, thumbnail


def prepare_thumbnail(
    source: EncodedImage,
    thumbnail_size: int,
    antialias: bool,
    truncated: TruncatedPolicy = TruncatedPolicy.REFUSE,
) -> tuple[NDArray[np.float32], tuple[Note, ...]]:
    """Make the thumbnail alone, from the smallest decode that is large enough.

    Returns:
        The thumbnail float32 (3, S, S) in 0..1, and the notes of the image.

    Raises:
        DamagedImage: the pixels cannot be decoded.
    """
    thumbnail, notes = source.run(_prepare_thumbnail, thumbnail_size, antialias, truncated)
    if source.sandbox is not None:
        check_thumbnail(thumbnail, thumbnail_size)
    return thumbnail, notes


def check_thumbnail(thumbnail: NDArray[np.float32], size: int) -> None:
    """Raise DamagedImage for values that a network must not receive: batches mix requests."""
    fits = thumbnail.dtype == np.float32 and thumbnail.shape == (3, size, size)
    if not (fits and thumbnail.min() >= 0 and thumbnail.max() <= 1):  # nor NaN
        raise DamagedImage("Its decoder returned no thumbnail.")


def _prepare(
    source: EncodedImage,
    thumbnail_size: int,
    antialias: bool,
    max_side: int | None,
    truncated: TruncatedPolicy,
) -> tuple[Image, NDArray[np.float32]]:
    image = decode(source, truncated)
    thumbnail = make_thumbnail(image.pixels, thumbnail_size, antialias)
    return fit(image, max_side) if max_side else image, thumbnail


def _prepare_thumbnail(
    source: EncodedImage, thumbnail_size: int, antialias: bool, truncated: TruncatedPolicy
) -> tuple[NDArray[np.float32], tuple[Note, ...]]:
    reduced = decode_reduced(source, thumbnail_size, truncated)
    return make_thumbnail(reduced.pixels, thumbnail_size, antialias), reduced.notes


def decode(source: EncodedImage, truncated: TruncatedPolicy = TruncatedPolicy.REFUSE) -> Image:
    """Decode at full size, in this process.

    Raises:
        DamagedImage: the pixels cannot be decoded.
    """
    codec = source.format.codec

    def decode_whole(body: bytes) -> Raster:
        raster = codec.decode(body)
        size = (source.header.height, source.header.width)
        if raster.samples.shape[:2] != size:
            raise DamagedImage(f"The {source.format.name} has other pixels than its header states.")
        return raster

    image = _decode_or_fill(source, decode_whole, 0, truncated)
    if codec.read_gain_map is None:
        return image
    return replace(image, gain_map=codec.read_gain_map(source.body, source.header))


def decode_reduced(
    source: EncodedImage, side: int, truncated: TruncatedPolicy = TruncatedPolicy.REFUSE
) -> Image:
    """Decode, in this process, at the smallest cheap size whose short side is at least `side`.

    Only JPEG has cheaper sizes than the full one.

    Raises:
        DamagedImage: the pixels cannot be decoded.
    """
    decode_at_scale = source.format.codec.decode_reduced
    if decode_at_scale is None:
        return decode(source, truncated)

    def decode_scaled(body: bytes) -> Raster:
        return decode_at_scale(body, side)

    return _decode_or_fill(source, decode_scaled, side, truncated)


def _decode_or_fill(
    source: EncodedImage,
    function: Callable[[bytes], Raster],
    side: int,
    truncated: TruncatedPolicy,
) -> Image:
    fill = source.format.codec.decode_truncated
    try:
        with decode_errors(source.format):
            return to_image(source, function(source.body))
    except DamagedImage:
        if truncated is TruncatedPolicy.REFUSE or fill is None:
            raise
    with decode_errors(source.format):
        image = to_image(source, fill(source.body, side))
    return replace(image, notes=(*image.notes, TRUNCATED))


def to_image(source: EncodedImage, raster: Raster) -> Image:
    """Convert decoded samples to upright sRGB with square pixels."""
    header = source.header
    if header.crop is not None:
        raster = _apply_crop(raster, header.crop)
    if header.hdr is None:
        pixels = to_srgb(raster, header.profile)
    else:
        pixels = tone_map(raster.samples, header.hdr)
    image = Image(
        pixels=apply_orientation(pixels, header.orientation),
        alpha=None if raster.alpha is None else apply_orientation(raster.alpha, header.orientation),
        metadata=reset_orientation(header.metadata),
        subsampling=header.subsampling,
        notes=header.notes if header.hdr is None else (*header.notes, TONE_MAPPED),
    )
    return image if header.pixel_aspect is None else resize(image, (source.width, source.height))


def _apply_crop(raster: Raster, crop: Crop) -> Raster:
    rows = slice(crop.top, crop.top + crop.height)
    columns = slice(crop.left, crop.left + crop.width)
    return Raster(
        np.ascontiguousarray(raster.samples[rows, columns]),
        raster.space,
        None if raster.alpha is None else np.ascontiguousarray(raster.alpha[rows, columns]),
    )
