"""What the networks look at."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.imaging.photo import Samples
from app.luts.compiled import compiled

# For each point along an axis: its two neighbours, and how near the second is.
Taps: TypeAlias = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]


def thumbnail(pixels: Samples, size: int, antialias: bool) -> NDArray[np.float32]:
    """Squeeze (H, W, 3) to a square, whatever its proportions.

    Without antialiasing this is, bit for bit but for rounding, PyTorch's `interpolate(
    mode="bilinear", align_corners=False, antialias=False)`, which networks are trained on; it
    reads only four pixels for each of its own.

    Returns:
        float32 (3, size, size) in 0..1.
    """
    taps = _smoothed(pixels, size) if antialias else _sampled(pixels, size)
    taps /= np.float32(np.iinfo(pixels.dtype).max)
    return taps


def _sampled(pixels: Samples, size: int) -> NDArray[np.float32]:
    squeezed = np.empty((3, size, size), np.float32)
    _sample(pixels, _taps(pixels.shape[0], size), _taps(pixels.shape[1], size), squeezed)
    return squeezed


@compiled
def _sample(pixels: Samples, rows: Taps, columns: Taps, squeezed: NDArray[np.float32]) -> None:
    top, bottom, y = rows
    left, right, x = columns
    for i in range(len(y)):
        above, below = pixels[top[i]], pixels[bottom[i]]
        for j in range(len(x)):
            for c in range(3):
                upper = _mixed(above[left[j], c], above[right[j], c], x[j])
                lower = _mixed(below[left[j], c], below[right[j], c], x[j])
                squeezed[c, i, j] = _mixed(upper, lower, y[i])


@compiled
def _mixed(near: np.number[Any], far: np.number[Any], weight: np.float32) -> np.float32:
    return np.float32(near) + weight * (np.float32(far) - np.float32(near))


def _taps(length: int, size: int) -> Taps:
    """The taps of `size` points along `length`."""
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
    planar = np.moveaxis(np.dstack(resized), 2, 0)
    return np.ascontiguousarray(planar)
