"""Cleaning and enlarging the pixels of an image, in strips that several threads can share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.jit import jit
from app.restoration import splut, tinylut
from app.restoration.engine import Model, Stage, build
from app.restoration.layers import PATTERNS, Description, Layer, Lookup
from app.restoration.lerf import Resampler, output_side

Pixels: TypeAlias = NDArray[np.uint8 | np.uint16]
T = TypeVar("T")
ParallelMap: TypeAlias = Callable[[Callable[[T], None], Sequence[T]], None]

STRIP = 1 << 18  # output pixels that a thread computes at a time
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
        measure_luma(pixels[first:last], step, before[0, first:last])

    def change(rows: tuple[int, int]) -> None:
        first, last = rows
        after = model.run_rows(before, first, last)[0]
        part = pixels[first:last]
        add_difference(part, before[0, first:last], after, strength * step, top)

    parallel_map(measure, strips)
    parallel_map(change, strips)


def compile_loops() -> None:
    """Compile every loop of this layer, or load it from disk, before a request needs it."""

    def run(function: Callable[[tuple[int, int]], None], parts: Sequence[tuple[int, int]]) -> None:
        for part in parts:
            function(part)

    def make(name: str, values: int, **options: Any) -> Stage:
        rows = 5**4 if options.get("interpolated", True) else 4**4
        tables = {"table": np.zeros((rows, values), np.int8)}
        layer = Layer(name, (Lookup("table", PATTERNS["s"]),), 1, maps=values, **options)
        return Stage(layer, tables)

    pixel = np.zeros((1, 1, 3), np.uint8)
    one = make("one", 1)
    for stage in (one, make("entries", 1, interpolated=False)):
        stage(pixel[..., 0][None])
    model = build(Description((one.layer,)), {"table": np.zeros((5**4, 1), np.int8)})
    for dtype in (np.uint8, np.uint16):
        clean(np.zeros((1, 1, 3), dtype), model, 1.0, run)
    upscale(pixel, Resampler(one, make("three", 3)), 1, run)
    taps, floats = np.zeros((1, 3), np.int64), np.zeros((1, 1, 1), np.float32)
    splut.direct(floats, taps, np.float32(0), 1, floats[0], floats)
    integers = np.zeros((1, 1, 1), np.int32)
    tinylut.sum_of_tables(integers, taps, taps[0, :1], np.zeros((1, 1), np.int8), integers)


def _to_8bit(pixels: Pixels) -> NDArray[np.uint8]:
    return ((pixels.astype(np.uint32) + _STEP // 2) // _STEP).astype(np.uint8)


def _nearest(outputs: NDArray[np.int64], scale: float, side: int) -> NDArray[np.int64]:
    return np.minimum(((outputs + 0.5) / scale).astype(np.int64), side - 1)


@jit
def measure_luma(pixels: NDArray[Any], step: int, out: NDArray[np.uint8]) -> None:
    """Compute the luma of pixels, ITU-R BT.601, rounded to 8 bits.

    Args:
        pixels: (H, W, 3) of 8 or 16 bits.
        step: levels of the pixels in an 8-bit level: 1 or 257.
        out: (H, W), written.
    """
    half = np.int64(500 * step)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            red, green, blue = pixels[y, x, 0], pixels[y, x, 1], pixels[y, x, 2]
            total = 299 * np.int64(red) + 587 * np.int64(green) + 114 * np.int64(blue)
            out[y, x] = np.uint8((total + half) // (1000 * step))


@jit
def add_difference(
    pixels: NDArray[Any],
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    factor: float,
    top: int,
) -> None:
    """Add to each pixel how much its luma was changed; pixels of unchanged luma stay as they are.

    Args:
        pixels: (H, W, 3), changed.
        before: (H, W).
        after: (H, W).
        factor: levels of the pixels that a level of luma is worth.
        top: the highest level of the pixels.
    """
    for y in range(before.shape[0]):
        for x in range(before.shape[1]):
            change = np.int64(after[y, x]) - np.int64(before[y, x])
            if change:
                step = np.int64(np.rint(change * factor))
                for c in range(3):
                    pixels[y, x, c] = min(max(np.int64(pixels[y, x, c]) + step, 0), top)
