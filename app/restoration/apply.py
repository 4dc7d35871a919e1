"""Cleaning and enlarging the pixels of an image, in strips that several threads can share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.restoration import kernels
from app.restoration.engine import PATTERNS, Group, Model, Stage, chain, grid_levels
from app.restoration.resample import Resampler, output_side

Pixels: TypeAlias = NDArray[np.uint8 | np.uint16]
T = TypeVar("T")
ParallelMap: TypeAlias = Callable[[Callable[[T], None], Sequence[T]], None]

STRIP = 1 << 18  # output pixels that a thread computes at a time: about 50 ms
_STEP = 257  # of 16-bit levels in an 8-bit level


def upscale(
    pixels: Pixels,
    model: Model | Resampler,
    scale: float,
    parallel_map: ParallelMap[tuple[int, int]],
) -> Pixels:
    """Enlarge pixels (H, W, 3); the strips are bit-equal to the whole.

    The tables have 8 bits. Of 16-bit pixels, the remainder is repeated and added, so that smooth
    gradients stay smooth.

    Args:
        pixels: uint8 or uint16.
        model: a model of that scale, or a resampler.
        scale: at least 1.
        parallel_map: runs a function on each range of rows.
    """
    height, width = pixels.shape[:2]
    size = output_side(height, scale), output_side(width, scale)
    out = np.empty((*size, 3), pixels.dtype)
    deep = pixels.dtype == np.uint16
    levels = _to_8bit(pixels) if deep else pixels.astype(np.uint8, copy=False)
    remainder = (pixels - levels.astype(np.int32) * _STEP).astype(np.int16) if deep else None
    maps = levels.transpose(2, 0, 1)

    def run(rows: tuple[int, int]) -> None:
        first, last = rows
        if isinstance(model, Resampler):
            strip = model.run_rows(maps, scale, first, last)
        else:
            strip = model.run_rows(maps, first, last)
            first, last = first * model.scale, last * model.scale
        found = strip.transpose(1, 2, 0)
        if remainder is None:
            out[first:last] = found
            return
        down = _nearest(np.arange(first, last), scale, height)
        across = _nearest(np.arange(size[1]), scale, width)
        deeper = found * np.int32(_STEP) + remainder[down[:, None], across]
        out[first:last] = deeper.clip(0, 65535)

    count = size[0] if isinstance(model, Resampler) else height
    each = max(1, STRIP // size[1] * count // size[0])
    parallel_map(run, [(top, min(top + each, count)) for top in range(0, count, each)])
    return out


def clean(
    pixels: Pixels, model: Model, strength: float, parallel_map: ParallelMap[tuple[int, int]]
) -> None:
    """Clean the luma of pixels (H, W, 3), in place; the strips are bit-equal to the whole.

    The tables have 8 bits. What they change is added to pixels of 8 or 16 bits.

    Args:
        pixels: uint8 or uint16, changed.
        model: of scale 1.
        strength: the share of the change that is added, 0 to 1.
        parallel_map: runs a function on each range of rows.
    """
    height, width = pixels.shape[:2]
    step = _STEP if pixels.dtype == np.uint16 else 1
    top = int(np.iinfo(pixels.dtype).max)
    before = np.empty((1, height, width), np.uint8)
    each = max(1, STRIP // width)
    strips = [(first, min(first + each, height)) for first in range(0, height, each)]

    def measure(rows: tuple[int, int]) -> None:
        first, last = rows
        kernels.luma(pixels[first:last], step, before[0, first:last])

    def change(rows: tuple[int, int]) -> None:
        first, last = rows
        after = model.run_rows(before, first, last)[0]
        part = pixels[first:last]
        kernels.add_difference(part, before[0, first:last], after, strength * step, top)

    parallel_map(measure, strips)
    parallel_map(change, strips)


def compile_loops() -> None:
    """Compile every loop of this layer, or load it from disk, before a request needs it."""

    def table(values: int) -> Group:
        return Group(PATTERNS["s"], np.zeros((grid_levels(64) ** 4, values), np.int8))

    def run(function: Callable[[tuple[int, int]], None], parts: Sequence[tuple[int, int]]) -> None:
        for part in parts:
            function(part)

    pixel = np.zeros((1, 1, 3), np.uint8)
    stage = Stage((table(1),), 1, step=64)
    upscale(pixel, chain([stage]), 1, run)
    for dtype in (np.uint8, np.uint16):
        clean(np.zeros((1, 1, 3), dtype), chain([stage]), 1.0, run)
    upscale(pixel, Resampler(stage, Stage((table(3),), 1, step=64)), 1, run)
    taps = np.zeros((1, 3), np.int64)
    floats, integers = np.zeros((1, 1, 1), np.float32), np.zeros((1, 1, 1), np.int32)
    kernels.direct(floats, taps, np.float32(0), 1, floats[0], floats)
    kernels.sum_of_tables(integers, taps, taps[0, :1], np.zeros((1, 1), np.int8), integers)


def _to_8bit(pixels: Pixels) -> NDArray[np.uint8]:
    return ((pixels.astype(np.uint32) + _STEP // 2) // _STEP).astype(np.uint8)


def _nearest(outputs: NDArray[np.int64], scale: float, side: int) -> NDArray[np.int64]:
    return np.minimum(((outputs + 0.5) / scale).astype(np.int64), side - 1)
