"""Making a photo smaller."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from app.imaging.raster import Samples
from app.imaging.types import Image
from app.jit import jit

_REDUCING_GAP = 3.0  # Pillow: indistinguishable from 1-step Lanczos, and faster on large photos
_FULL = 65535


def fit(photo: Image, max_side: int) -> Image:
    """Shrink so that the long side is at most `max_side` pixels, with Lanczos.

    Returns the photo itself when it fits.
    """
    height, width = photo.pixels.shape[:2]
    scale = max_side / max(height, width)
    if scale >= 1:
        return photo
    size = max(1, round(width * scale)), max(1, round(height * scale))
    resized = _resize_8bit if photo.pixels.dtype == np.uint8 else _resize_16bit
    return resized(photo, size)


def _resize_8bit(photo: Image, size: tuple[int, int]) -> Image:
    if photo.alpha is None:
        return replace(photo, pixels=_lanczos(photo.pixels, size))
    # As RGBA, because Pillow then weighs the colours with alpha.
    rgba = _lanczos(np.dstack((photo.pixels, photo.alpha)), size)
    return replace(
        photo,
        pixels=np.ascontiguousarray(rgba[..., :3]),
        alpha=np.ascontiguousarray(rgba[..., 3]),
    )


def _resize_16bit(photo: Image, size: tuple[int, int]) -> Image:
    """Plane by plane in float32: Pillow has no 16-bit RGB."""
    planes = np.moveaxis(photo.pixels, 2, 0)
    if photo.alpha is None:
        colours = [_lanczos(plane.astype(np.float32), size) for plane in planes]
        return replace(photo, pixels=_round(np.dstack(colours)))
    opacity = photo.alpha.astype(np.float32) / _FULL
    alpha = _lanczos(opacity, size)
    weight = np.maximum(alpha, 1 / _FULL)
    colours = [_lanczos((plane * opacity).astype(np.float32), size) / weight for plane in planes]
    return replace(photo, pixels=_round(np.dstack(colours)), alpha=_round(alpha * _FULL))


def _lanczos(samples: NDArray[Any], size: tuple[int, int]) -> np.ndarray:
    image = PilImage.fromarray(samples)
    return np.array(image.resize(size, PilImage.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP))


def _round(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    return np.clip(np.rint(values), 0, _FULL).astype(np.uint16)


# For each point along an axis: its two neighbours, and how near the second is.
Taps: TypeAlias = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]


def make_thumbnail(pixels: Samples, size: int, antialias: bool) -> NDArray[np.float32]:
    """Squeeze (H, W, 3) to a square, whatever its proportions.

    Without antialiasing this is, bit for bit but for rounding, PyTorch's `interpolate(
    mode="bilinear", align_corners=False, antialias=False)`, which networks are trained on; it
    reads only four pixels for each of its own.

    Returns:
        float32 (3, size, size) in 0..1.
    """
    taps = _smooth(pixels, size) if antialias else _sample_rows(pixels, size)
    taps /= np.float32(np.iinfo(pixels.dtype).max)
    return taps


def _sample_rows(pixels: Samples, size: int) -> NDArray[np.float32]:
    squeezed = np.empty((3, size, size), np.float32)
    _sample(pixels, _taps(pixels.shape[0], size), _taps(pixels.shape[1], size), squeezed)
    return squeezed


@jit
def _sample(pixels: Samples, rows: Taps, columns: Taps, squeezed: NDArray[np.float32]) -> None:
    top, bottom, y = rows
    left, right, x = columns
    for i in range(len(y)):
        above, below = pixels[top[i]], pixels[bottom[i]]
        for j in range(len(x)):
            for c in range(3):
                upper = _mix(above[left[j], c], above[right[j], c], x[j])
                lower = _mix(below[left[j], c], below[right[j], c], x[j])
                squeezed[c, i, j] = _mix(upper, lower, y[i])


@jit
def _mix(near: np.number[Any], far: np.number[Any], weight: np.float32) -> np.float32:
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


def _smooth(pixels: Samples, size: int) -> NDArray[np.float32]:
    planes = [pixels] if pixels.dtype == np.uint8 else np.moveaxis(pixels.astype(np.float32), 2, 0)
    resized = [
        np.array(
            PilImage.fromarray(plane).resize(
                (size, size), PilImage.Resampling.BILINEAR, reducing_gap=2.0
            ),
            dtype=np.float32,
        )
        for plane in planes
    ]
    planar = np.moveaxis(np.dstack(resized), 2, 0)
    return np.ascontiguousarray(planar)
