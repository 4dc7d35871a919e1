"""What the networks look at."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.imaging.photo import Samples

Taps: TypeAlias = NDArray[np.float32]


def thumbnail(pixels: Samples, size: int, antialias: bool) -> NDArray[np.float32]:
    """Squeeze (H, W, 3) to a square, whatever its proportions.

    Without antialiasing this is, bit for bit but for rounding, PyTorch's `interpolate(
    mode="bilinear", align_corners=False, antialias=False)`, which networks are trained on; it
    reads only four pixels for each of its own.

    Returns:
        float32 (3, size, size) in 0..1.
    """
    taps = _smoothed(pixels, size) if antialias else _sampled(pixels, size)
    scaled = taps / np.float32(np.iinfo(pixels.dtype).max)
    return np.ascontiguousarray(np.moveaxis(scaled, 2, 0))


def _sampled(pixels: Samples, size: int) -> NDArray[np.float32]:
    top, bottom, y = _taps(pixels.shape[0], size)
    left, right, x = _taps(pixels.shape[1], size)

    flat = pixels.reshape(-1, 3)

    def between_columns(rows: NDArray[np.intp]) -> NDArray[np.float32]:
        lines = pixels.shape[1] * rows[:, np.newaxis]
        near, far = flat.take(lines + left, axis=0), flat.take(lines + right, axis=0)
        return _mixed(near, far, x[:, np.newaxis])

    return _mixed(between_columns(top), between_columns(bottom), y[:, np.newaxis, np.newaxis])


def _mixed(near: Samples | Taps, far: Samples | Taps, weight: Taps) -> Taps:
    """`near` and `far` by weight; in place, as the arrays are larger than a core's cache."""
    mixed = far.astype(np.float32)
    mixed -= near
    mixed *= weight
    mixed += near
    return mixed


def _taps(length: int, size: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """For each of `size` points along `length`: its two neighbours, and how near the second is."""
    # float32 throughout, as PyTorch does: exact positions would give other weights.
    scale = np.float32(length) / np.float32(size)
    positions = scale * (np.arange(size, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5)
    positions = np.maximum(positions, np.float32(0))
    first = np.minimum(positions.astype(np.intp), length - 1)
    second = np.minimum(first + 1, length - 1)
    return first, second, positions - first.astype(np.float32)


def _smoothed(pixels: Samples, size: int) -> NDArray[np.float32]:
    planes = [pixels] if pixels.dtype == np.uint8 else np.moveaxis(pixels.astype(np.float32), 2, 0)
    resized = [
        np.array(
            Image.fromarray(plane).resize(
                (size, size), Image.Resampling.BILINEAR, reducing_gap=2.0
            ),
            dtype=np.float32,
        )
        for plane in planes
    ]
    return np.dstack(resized)
