"""Bytes to pixels: upright, and coded in sRGB."""

from __future__ import annotations

import numpy as np

from app.errors import DamagedImage
from app.imaging.colour import to_srgb
from app.imaging.damage import decoding
from app.imaging.formats import jpeg
from app.imaging.metadata import upright
from app.imaging.photo import ImageFormat, Photo, Samples
from app.imaging.raster import Raster
from app.imaging.source import Source


def decode(source: Source) -> Photo:
    """Decode at full size.

    Raises:
        DamagedImage: the pixels cannot be decoded.
    """
    with decoding(source.format):
        raster = source.codec.decode(source.body)
        size = (source.header.height, source.header.width)
        if raster.samples.shape[:2] != size:
            raise DamagedImage(f"It has {raster.samples.shape} samples, not those of its header.")
        return _photo(source, raster)


def decode_reduced(source: Source, side: int) -> Photo:
    """Decode at the smallest cheap size whose short side is still at least `side` pixels.

    Only JPEG offers less than the full size.

    Raises:
        DamagedImage: the pixels cannot be decoded.
    """
    if source.format is not ImageFormat.JPEG:
        return decode(source)
    with decoding(source.format):
        return _photo(source, jpeg.decode_reduced(source.body, side))


def _photo(source: Source, raster: Raster) -> Photo:
    header = source.header
    return Photo(
        pixels=_turned(to_srgb(raster, header.profile), header.orientation),
        alpha=None if raster.alpha is None else _turned(raster.alpha, header.orientation),
        metadata=upright(header.metadata),
        format=source.format,
        subsampling=header.subsampling,
    )


def _turned(samples: Samples, orientation: int) -> Samples:
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
