"""Reduce images to a maximum size, and to thumbnails."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from app.imaging.raster import Image, Samples, split_rows
from app.jit import jit

_REDUCING_GAP = 3.0  # Pillow: indistinguishable from 1-step Lanczos, and faster on large images
_FULL = 65535
_LANCZOS_SUPPORT = 3  # pixels of the smaller image


def fit(image: Image, max_side: int) -> Image:
    """Shrink so that the long side is at most `max_side` pixels, with Lanczos.

    Return the image itself if it is small enough.
    """
    height, width = image.pixels.shape[:2]
    scale = max_side / max(height, width)
    if scale >= 1:
        return image
    return resize(image, (max(1, round(width * scale)), max(1, round(height * scale))))


def resize(image: Image, size: tuple[int, int]) -> Image:
    """Resize to (width, height) with Lanczos."""
    resized = _resize_8bit if image.pixels.dtype == np.uint8 else _resize_16bit
    return resized(image, size)


def resize_plane(plane: Samples, size: tuple[int, int]) -> Samples:
    """Resize a plane (H, W) of 8 or 16 bits to (width, height), with Lanczos."""
    width, height = size
    resized = np.empty((height, width), plane.dtype)
    for rows in split_rows(height, width):
        strip = _Strip.of(plane.shape, size, rows)
        if plane.dtype == np.uint8:
            resized[rows] = strip.resize(plane[strip.source])
        else:
            resized[rows] = _round(strip.resize(plane[strip.source].astype(np.float32)))
    return resized


class _Strip(NamedTuple):
    """Rows of a result, and where they come from; Pillow copies what it resizes.

    Attributes:
        source: the rows that the filter reads.
        box: left, top, right and bottom of what is shown, in pixels of those rows.
        size: width and height of the result's rows.
    """

    source: slice
    box: tuple[float, float, float, float]
    size: tuple[int, int]

    @classmethod
    def of(cls, shape: tuple[int, ...], size: tuple[int, int], rows: slice) -> Self:
        """Return the strip of the rows of a result (width, height) of samples (H, W, ...)."""
        width, height = size
        scale = shape[0] / height
        support = _LANCZOS_SUPPORT * max(1.0, scale)
        top = max(0, int(rows.start * scale - support))
        bottom = min(shape[0], int(np.ceil(rows.stop * scale + support)))
        box = (0.0, rows.start * scale - top, float(shape[1]), rows.stop * scale - top)
        return cls(slice(top, bottom), box, (width, rows.stop - rows.start))

    def resize(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Resize the samples of the source's rows with Lanczos."""
        resized = PilImage.fromarray(samples).resize(
            self.size, PilImage.Resampling.LANCZOS, self.box, reducing_gap=_REDUCING_GAP
        )
        return np.asarray(resized)


def _resize_8bit(image: Image, size: tuple[int, int]) -> Image:
    width, height = size
    pixels = np.empty((height, width, 3), np.uint8)
    alpha = None if image.alpha is None else np.empty((height, width), np.uint8)
    for rows in split_rows(height, width):
        strip = _Strip.of(image.pixels.shape, size, rows)
        samples = image.pixels[strip.source]
        if image.alpha is None or alpha is None:
            pixels[rows] = strip.resize(samples)
            continue
        # As RGBA, because Pillow then weighs the colours with alpha.
        rgba = strip.resize(np.dstack((samples, image.alpha[strip.source])))
        pixels[rows], alpha[rows] = rgba[..., :3], rgba[..., 3]
    return replace(image, pixels=pixels, alpha=alpha)


def _resize_16bit(image: Image, size: tuple[int, int]) -> Image:
    """Resize plane by plane in float32, since Pillow has no 16-bit RGB."""
    width, height = size
    pixels = np.empty((height, width, 3), np.uint16)
    alpha = None if image.alpha is None else np.empty((height, width), np.uint16)
    for rows in split_rows(height, width):
        strip = _Strip.of(image.pixels.shape, size, rows)
        planes = np.moveaxis(image.pixels[strip.source], 2, 0).astype(np.float32)
        weight: NDArray[np.float32] | float = 1.0
        if image.alpha is not None and alpha is not None:
            opacity = image.alpha[strip.source].astype(np.float32)
            resized = strip.resize(opacity)
            alpha[rows] = _round(resized)
            weight = np.maximum(resized, 1) / _FULL
            planes *= opacity / _FULL
        for channel, plane in enumerate(planes):
            pixels[rows, :, channel] = _round(strip.resize(plane) / weight)
    return replace(image, pixels=pixels, alpha=alpha)


def _round(values: NDArray[Any]) -> NDArray[np.uint16]:
    rounded: NDArray[np.uint16] = np.clip(np.rint(values), 0, _FULL).astype(np.uint16)
    return rounded


# For each point along an axis: its two neighbours, and how near the second is.
Taps: TypeAlias = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]


def make_thumbnail(pixels: Samples, size: int, antialias: bool) -> NDArray[np.float32]:
    """Resize (H, W, 3) to a square, whatever its proportions.

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
    """Interpolate row by row: collect the neighbours of all points, then mix them in vectors."""
    top, bottom, y = rows
    left, right, x = columns
    corners = np.empty((12, len(x)), np.float32)  # RGB of the four neighbours
    for i in range(len(y)):
        above, below = pixels[top[i]], pixels[bottom[i]]
        for j in range(len(x)):
            one, two, three, four = above[left[j]], above[right[j]], below[left[j]], below[right[j]]
            corners[0, j], corners[1, j], corners[2, j] = one[0], one[1], one[2]
            corners[3, j], corners[4, j], corners[5, j] = two[0], two[1], two[2]
            corners[6, j], corners[7, j], corners[8, j] = three[0], three[1], three[2]
            corners[9, j], corners[10, j], corners[11, j] = four[0], four[1], four[2]
        for c in range(3):
            near, far, row = corners[c], corners[c + 3], squeezed[c, i]
            near_below, far_below = corners[c + 6], corners[c + 9]
            for j in range(len(x)):
                upper = _mix(near[j], far[j], x[j])
                row[j] = _mix(upper, _mix(near_below[j], far_below[j], x[j]), y[i])


@jit
def _mix(near: np.number[Any], far: np.number[Any], weight: np.float32) -> np.float32:
    return np.float32(near) + weight * (np.float32(far) - np.float32(near))


def _taps(length: int, size: int) -> Taps:
    """Return the taps of `size` points along `length`."""
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
