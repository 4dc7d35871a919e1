"""What a photograph suffered, measured on its file and its pixels, and which tables undo it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as of JPEG

QUALITIES = (30.0, 50.0, 70.0)  # that have tables of their own
NO_DAMAGE_QUALITY = 95.0  # from which a JPEG needs no cleaning
KNOTS = (*(f"jpeg{quality:g}" for quality in QUALITIES), "noise")

_QUIET = 2.0  # noise that is not told from texture, in 8-bit levels
_FULL = 6.0  # noise that the tables of noise were made for
_LARGEST_WEIGHT = 1.5
_BLOCK = 8  # samples of the diagonal band in each direction: 16 pixels
_QUIETEST = 10  # percent of the blocks
_NORMAL_MEAN = 0.7979  # of the absolute value of a normal variable
_MAX_BLOCKS = 1 << 12  # that the noise is measured on


class Damage(NamedTuple):
    """The damage of a photograph.

    Attributes:
        quality: of the JPEG that it was read from, by its quantisation tables; None for others.
        noise: standard deviation of luma, in 8-bit levels.
    """

    quality: float | None
    noise: float


def blend_weights(damage: Damage) -> tuple[float, ...]:
    """Return the weight of the tables of each of `KNOTS`; all are 0 where there is no damage.

    Between two qualities the tables are mixed linearly, and above the last they fade to nothing.
    """
    knots = (*QUALITIES, NO_DAMAGE_QUALITY)
    quality = NO_DAMAGE_QUALITY if damage.quality is None else damage.quality
    hats = np.eye(len(knots))[: len(QUALITIES)]
    jpeg = (float(np.interp(quality, knots, hat)) for hat in hats)
    noise = min(max(0.0, damage.noise - _QUIET) / (_FULL - _QUIET), _LARGEST_WEIGHT)
    return (*jpeg, noise)


def estimate_noise(pixels: NDArray[np.uint8 | np.uint16]) -> float:
    """Estimate the standard deviation of noise from the diagonal Haar band of luma.

    Edges along rows and columns cancel in that band. The blocks of the image are ordered by the
    mean magnitude in the band, and the one at the lowest tenth counts: texture everywhere is
    taken for noise, texture in most of the image is not.

    Args:
        pixels: (H, W, 3) uint8 or uint16.

    Returns:
        The deviation in 8-bit levels; 0 for images smaller than a block.
    """
    side = 2 * _BLOCK
    rows, columns = pixels.shape[0] // side, pixels.shape[1] // side
    if not rows or not columns:
        return 0.0
    step = max(1, round((rows * columns / _MAX_BLOCKS) ** 0.5))
    whole = pixels[: rows * side, : columns * side].reshape(rows, side, columns, side, 3)
    weights = np.array(LUMA, np.float32) / (np.iinfo(pixels.dtype).max // 255)
    blocks = whole[::step, :, ::step] @ weights  # (rows, side, columns, side)
    upper = blocks[:, ::2, :, ::2] - blocks[:, ::2, :, 1::2]
    lower = blocks[:, 1::2, :, ::2] - blocks[:, 1::2, :, 1::2]
    means = np.abs(upper - lower).mean((1, 3)) / 2
    return float(np.percentile(means, _QUIETEST)) / _NORMAL_MEAN
