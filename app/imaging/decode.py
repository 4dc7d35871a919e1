"""Bytes to pixels: upright, and coded in sRGB."""

from __future__ import annotations

import numpy as np

from app.errors import DamagedImage
from app.imaging.colour import to_srgb
from app.imaging.metadata import reset_orientation
from app.imaging.probe import EncodedImage, decode_errors
from app.imaging.raster import Raster, Samples
from app.imaging.types import Image


def decode(source: EncodedImage) -> Image:
    """Decode at full size.

    Raises:
        DamagedImage: the pixels cannot be decoded.
    """
    with decode_errors(source.format):
        raster = source.decode()
        size = (source.header.height, source.header.width)
        if raster.samples.shape[:2] != size:
            raise DamagedImage(f"It has {raster.samples.shape} samples, not those of its header.")
        return _to_image(source, raster)


def decode_reduced(source: EncodedImage, side: int) -> Image:
    """Decode at the smallest cheap size whose short side is still at least `side` pixels.

    Only JPEG offers less than the full size.

    Raises:
        DamagedImage: the pixels cannot be decoded.
    """
    decode_at_scale = source.format.codec.decode_reduced
    if decode_at_scale is None:
        return decode(source)
    with decode_errors(source.format):
        return _to_image(source, decode_at_scale(source.body, side))


def _to_image(source: EncodedImage, raster: Raster) -> Image:
    header = source.header
    return Image(
        pixels=_apply_orientation(to_srgb(raster, header.profile), header.orientation),
        alpha=None
        if raster.alpha is None
        else _apply_orientation(raster.alpha, header.orientation),
        metadata=reset_orientation(header.metadata),
        format=source.format,
        subsampling=header.subsampling,
    )


def _apply_orientation(samples: Samples, orientation: int) -> Samples:
    """Apply an EXIF orientation to (H, W[, C]); the result is C-contiguous."""
    if orientation == 1:
        return samples
    # Whole pixels move as single items: twice as fast as moving their channels.
    pixel = np.dtype((np.void, samples.itemsize * samples[0, 0].size))
    turned = samples.view(pixel).reshape(samples.shape[:2])
    if orientation >= 5:
        turned = turned.T
    across = -1 if orientation in (2, 3, 6, 7) else 1
    down = -1 if orientation in (3, 4, 7, 8) else 1
    turned = np.ascontiguousarray(turned[::down, ::across])
    return turned.view(samples.dtype).reshape(*turned.shape, *samples.shape[2:])
