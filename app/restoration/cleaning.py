"""Damage of a photograph, measured on its file and its pixels, and the tables that undo it.

The cleaner is trained here (`app.training.restoration`); no such tables are published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.restoration.descriptions import build_described
from app.restoration.engine import Model, Tables
from app.restoration.published_files import Hparams

Floats = NDArray[np.floating]
Planes: TypeAlias = Literal["rgb", "luma", "chroma"]

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as of JPEG
CHROMA = ((-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))

QUALITIES = (30.0, 50.0, 70.0)  # that have tables of their own
NO_DAMAGE_QUALITY = 95.0  # from which a JPEG needs no cleaning
KNOTS = (*(f"jpeg{quality:g}" for quality in QUALITIES), "noise")

# Damage that `auto` treats: no held-out photograph lost by its treatment.
_VISIBLE_QUALITY = 92.0  # from which artefacts of JPEG are invisible
_VISIBLE_NOISE = 2.5
_WHITE = 0.9, 1.6  # times as much in the coarser band: dither has less, texture from 2.1
_COLOUR = 1.3  # times the noise of luma that chroma has at full size: noise has 0.6 to 1.2
_DETAIL = 0.2  # levels, which plain drawings and blurred skies do not reach
_PLAIN_QUALITY = 60.0  # below which blocks are visible in these, too

_QUIET = 2.0  # noise that cannot be distinguished from texture, in 8-bit levels
_FULL = 6.0  # noise that the tables of noise were made for
_LARGEST_WEIGHT = 1.5
_STRONG = 6.0  # noise from which a model that was made for noise alone replaces the tables
_BLOCK = 8  # samples of the diagonal band in each direction: 16 pixels
_QUIETEST = 10  # percent of the blocks
_NORMAL_MEAN = 0.7979  # of the absolute value of a normal variable
_MAX_BLOCKS = 1 << 12  # that the noise is measured on


class Damage(NamedTuple):
    """The damage of a photograph.

    Attributes:
        quality: of the JPEG that it was read from, by its quantisation tables; None for others.
        noise: standard deviation of luma, in 8-bit levels.
        colour: whether the chroma is noisy, too.
    """

    quality: float | None
    noise: float
    colour: bool = True


class Bands(NamedTuple):
    """The magnitude of the diagonal Haar bands of luma, in 8-bit levels.

    Edges along rows and columns cancel in them. White noise has the same magnitude in both bands,
    texture more in the coarse one.

    Attributes:
        noise: standard deviation of noise: that of the fine band in the quietest blocks.
        coarse: the magnitude in the coarse band there, relative to the fine band.
        detail: the mean magnitude in the fine band of the whole image.
        colour: standard deviation of chroma within squares of 2 x 2 pixels.
    """

    noise: float
    coarse: float
    detail: float
    colour: float = 0.0


def certain_damage(quality: float | None, bands: Bands) -> Damage:
    """Return the damage that is certain and visible, and can be undone without a loss.

    Args:
        quality: of the JPEG, or None.
        bands: of its pixels.
    """
    limit = _VISIBLE_QUALITY if bands.detail >= _DETAIL else _PLAIN_QUALITY
    compressed = quality is not None and quality < limit
    noisy = bands.noise >= _VISIBLE_NOISE and _WHITE[0] <= bands.coarse <= _WHITE[1]
    plain = bands.colour <= _COLOUR * bands.noise
    return Damage(quality if compressed else None, bands.noise if noisy else 0.0, plain)


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


def knots_of(planes: Planes) -> tuple[str, ...]:
    """Return which of `KNOTS` have tables: JPEGs hardly gain by cleaned chroma."""
    return KNOTS[-1:] if planes == "chroma" else KNOTS


def measure_bands(pixels: NDArray[np.uint8 | np.uint16]) -> Bands:
    """Measure the diagonal Haar bands of luma.

    The blocks of the image are ordered by their mean magnitude in the fine band. The one at the
    lowest tenth determines the noise: texture in most of the image does not count.

    Args:
        pixels: (H, W, 3) uint8 or uint16.

    Returns:
        The bands; 0 for images smaller than a block.
    """
    side = 2 * _BLOCK
    rows, columns = pixels.shape[0] // side, pixels.shape[1] // side
    if not rows or not columns:
        return Bands(0.0, 0.0, 0.0)
    step = max(1, round((rows * columns / _MAX_BLOCKS) ** 0.5))
    whole = pixels[: rows * side, : columns * side].reshape(rows, side, columns, side, 3)
    unit = np.float32(np.iinfo(pixels.dtype).max // 255)
    blocks = whole[::step, :, ::step] / unit
    fine, reduced = _split(blocks @ np.array(LUMA, np.float32))
    coarse, _ = _split(reduced)
    limit = np.percentile(fine, _QUIETEST)
    quietest = fine <= limit
    relative = 2 * coarse[quietest].mean() / max(fine[quietest].mean(), 1e-6)
    colour = _measure_colour(blocks)
    return Bands(float(limit) / _NORMAL_MEAN, float(relative), float(fine.mean()), colour)


@dataclass(frozen=True, eq=False)
class Cleaner:
    """Removes artefacts of JPEG and noise from the planes that its tables were made for.

    Attributes:
        planes: of an image that it reads, each alone.
        tables: of each of `knots_of(planes)`, by the names that `describe_mulut` names.
        hparams: of `describe_mulut`.
    """

    planes: Planes
    tables: dict[str, Tables]
    hparams: Hparams
    scale: ClassVar[int] = 1

    def for_damage(self, damage: Damage) -> Model | None:
        """Mix the tables for a damage; None where they change nothing."""
        weights = dict(zip(KNOTS, blend_weights(damage), strict=True))
        weights = {knot: weights[knot] for knot in self.tables}
        if not any(weights.values()):
            return None
        mixed = {}
        for name in next(iter(self.tables.values())):
            total = sum(
                (np.float32(weight) * self.tables[knot][name] for knot, weight in weights.items()),
                np.float32(0),
            )
            mixed[name] = np.rint(np.clip(total, -127, 127)).astype(np.int8)
        return build_described("mulut", mixed, self.hparams)


class Cleaners(NamedTuple):
    """The models that clean an image together.

    Attributes:
        luma: cleans luma.
        chroma: removes noise from chroma.
        denoiser: removes strong noise from colours; the strength of the noise is not an input.
    """

    luma: Cleaner | None = None
    chroma: Cleaner | None = None
    denoiser: Model | None = None

    def for_damage(self, damage: Damage) -> list[tuple[Planes, Model]]:
        """Return which models clean which planes, in their order; none where nothing changes.

        Where there is a denoiser, strong noise is left to it; tables clean what remains.
        """
        chosen: list[tuple[Planes, Model]] = []
        if self.denoiser is not None and damage.noise >= _STRONG:
            chosen.append(("rgb", self.denoiser))
            damage = damage._replace(noise=0.0)
        for cleaner in (self.luma, self.chroma if damage.colour else None):
            model = cleaner.for_damage(damage) if cleaner is not None else None
            if cleaner is not None and model is not None:
                chosen += [(cleaner.planes, model)]
        return chosen


def build_cleaner(tables: Tables, hparams: Hparams) -> Cleaner:
    """Build the cleaner from the tables `KNOT_stageN_PATTERN`.

    Args:
        tables: hold them.
        hparams: of `describe_mulut`, and `planes`, luma by default.

    Raises:
        BadModel: a table is missing, or its shape does not fit.
    """
    planes: Planes = hparams.get("planes", "luma")
    sets: dict[str, Tables] = {
        knot: {
            name.removeprefix(f"{knot}_"): table
            for name, table in tables.items()
            if name.startswith(f"{knot}_")
        }
        for knot in knots_of(planes)
    }
    for named in sets.values():
        build_described("mulut", named, hparams)
    return Cleaner(planes, sets, hparams)


def _measure_colour(blocks: Floats) -> float:
    """Return the deviation of chroma within squares of 2 x 2 pixels of blocks (R, N, C, N, 3)."""
    rows, height, columns, width, _ = blocks.shape
    chroma = blocks @ np.array(CHROMA, np.float32).T
    squares = chroma.reshape(rows, height // 2, 2, columns, width // 2, 2, 2)
    return float(np.sqrt(squares.var(axis=(2, 5)).mean()))


def _split(blocks: Floats) -> tuple[Floats, Floats]:
    """Return the mean magnitude in the diagonal band of blocks (R, N, C, N), and their halves.

    Returns:
        Magnitudes (R, C), and blocks (R, N / 2, C, N / 2) of the means of 2 x 2 pixels.
    """
    upper, lower = blocks[:, ::2], blocks[:, 1::2]
    difference, total = upper - lower, upper + lower
    diagonal = difference[..., ::2] - difference[..., 1::2]
    return np.abs(diagonal).mean((1, 3)) / 2, (total[..., ::2] + total[..., 1::2]) / 4
