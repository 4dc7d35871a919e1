"""Making a photo smaller."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.imaging.photo import Photo

_REDUCING_GAP = 3.0  # Pillow: indistinguishable from 1-step Lanczos, and faster on large photos
_FULL = 65535


def fit(photo: Photo, max_side: int) -> Photo:
    """Shrink so that the long side is at most `max_side` pixels, with Lanczos.

    Returns the photo itself when it fits.
    """
    height, width = photo.pixels.shape[:2]
    scale = max_side / max(height, width)
    if scale >= 1:
        return photo
    size = max(1, round(width * scale)), max(1, round(height * scale))
    resized = _resized_8 if photo.pixels.dtype == np.uint8 else _resized_16
    return resized(photo, size)


def _resized_8(photo: Photo, size: tuple[int, int]) -> Photo:
    if photo.alpha is None:
        return replace(photo, pixels=_lanczos(photo.pixels, size))
    # As RGBA, because Pillow then weighs the colours with alpha.
    rgba = _lanczos(np.dstack((photo.pixels, photo.alpha)), size)
    return replace(
        photo,
        pixels=np.ascontiguousarray(rgba[..., :3]),
        alpha=np.ascontiguousarray(rgba[..., 3]),
    )


def _resized_16(photo: Photo, size: tuple[int, int]) -> Photo:
    """Plane by plane in float32: Pillow has no 16-bit RGB."""
    planes = np.moveaxis(photo.pixels, 2, 0)
    if photo.alpha is None:
        colours = [_lanczos(plane.astype(np.float32), size) for plane in planes]
        return replace(photo, pixels=_rounded(np.dstack(colours)))
    opacity = photo.alpha.astype(np.float32) / _FULL
    alpha = _lanczos(opacity, size)
    weight = np.maximum(alpha, 1 / _FULL)
    colours = [_lanczos((plane * opacity).astype(np.float32), size) / weight for plane in planes]
    return replace(photo, pixels=_rounded(np.dstack(colours)), alpha=_rounded(alpha * _FULL))


def _lanczos(samples: NDArray[Any], size: tuple[int, int]) -> np.ndarray:
    image = Image.fromarray(samples)
    return np.array(image.resize(size, Image.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP))


def _rounded(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    return np.clip(np.rint(values), 0, _FULL).astype(np.uint16)
