"""Crops, flips and thumbnails."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def random_view(image: Tensor, smallest: float, rng: np.random.Generator) -> Tensor:
    """Crops (..., H, W) to `smallest` to 1 of each side, and mirrors every other one."""
    height, width = (round(side * rng.uniform(smallest, 1.0)) for side in image.shape[-2:])
    top = rng.integers(image.shape[-2] - height + 1)
    left = rng.integers(image.shape[-1] - width + 1)
    crop = image[..., top : top + height, left : left + width]
    return crop.flip(-1) if rng.random() < 0.5 else crop


def collage(image: Tensor, other: Tensor, rng: np.random.Generator) -> Tensor:
    """Replaces a fifth to four fifths of (C, H, W), from one side on, by that part of another.

    Photos are few, and what they show together is what networks come to know them by.
    """
    joined = _resampled(other, image.shape[1], image.shape[2], antialias=True)
    axis = int(rng.integers(1, 3))
    length = image.shape[axis]
    kept = round(length * rng.uniform(0.2, 0.8))
    joined.narrow(axis, 0, kept).copy_(image.narrow(axis, 0, kept))
    return joined


def squeezed(image: Tensor, size: int, *, antialias: bool) -> Tensor:
    """Resamples (C, H, W) bilinearly to a square (C, size, size) of the same dtype."""
    return _resampled(image, size, size, antialias=antialias)


def random_places(count: int, size: int, rng: np.random.Generator) -> Tensor:
    """Draws `count` flat indices, int64, into a square image of `size` pixels a side."""
    return torch.from_numpy(rng.integers(size * size, size=count))


def colours_at(image: Tensor, places: Tensor) -> Tensor:
    """Reads an image (3, H, W) at flat indices (P,): colours (P, 3)."""
    return image.flatten(1)[:, places].T


def _resampled(image: Tensor, height: int, width: int, *, antialias: bool) -> Tensor:
    return functional.interpolate(
        image[None], (height, width), mode="bilinear", align_corners=False, antialias=antialias
    )[0]
