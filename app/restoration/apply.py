"""Cleaning and enlarging the pixels of an image, in strips that several threads can share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.jit import jit
from app.restoration import splut, tinylut
from app.restoration.cleaning import Planes
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
    pixels: Pixels,
    planes: Planes,
    model: Model,
    strength: float,
    parallel_map: ParallelMap[tuple[int, int]],
) -> None:
    """Clean planes of pixels (H, W, 3), in place; the strips are bit-equal to the whole.

    The tables have 8 bits. Their changes are added to pixels of 8 or 16 bits.

    Args:
        pixels: uint8 or uint16, changed.
        planes: that the model reads: red, green and blue, luma, or chroma at half the size, which
            replaces that of the pixels.
        model: of scale 1.
        strength: the share of the change that is added, 0 to 1.
        parallel_map: runs a function on each range of rows.
    """
    height, width = pixels.shape[:2]
    step = _STEP if pixels.dtype == np.uint16 else 1
    reduced = 2 if planes == "chroma" else 1
    size = -(-height // reduced), -(-width // reduced)
    before = np.empty(({"rgb": 3, "luma": 1, "chroma": 2}[planes], *size), np.uint8)
    each = max(1, STRIP // width // reduced)
    strips = [(first, min(first + each, size[0])) for first in range(0, size[0], each)]
    measure = {"rgb": measure_colours, "luma": measure_luma, "chroma": measure_chroma}[planes]

    def read(rows: tuple[int, int]) -> None:
        first, last = rows
        measure(pixels[reduced * first : reduced * last], step, before[:, first:last])

    def change(rows: tuple[int, int]) -> None:
        first, last = rows
        part = pixels[reduced * first : reduced * last]
        if planes == "chroma":
            above = min(1, first)
            after = model.run_rows(before, first - above, min(last + 1, size[0]))
            replace_chroma(part, after, above, strength, step)
        else:
            after = model.run_rows(before, first, last)
            add_change(part, before[:, first:last], after, strength * step)

    parallel_map(read, strips)
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
        for planes in ("rgb", "luma", "chroma"):
            clean(np.zeros((1, 1, 3), dtype), planes, model, 1.0, run)
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
def measure_colours(pixels: NDArray[Any], step: int, out: NDArray[np.uint8]) -> None:
    """Round red, green and blue of pixels to 8 bits.

    Args:
        pixels: (H, W, 3) of 8 or 16 bits.
        step: levels of the pixels in an 8-bit level: 1 or 257.
        out: (3, H, W), written.
    """
    for y in range(out.shape[1]):
        for x in range(out.shape[2]):
            for c in range(3):
                out[c, y, x] = np.uint8((np.int64(pixels[y, x, c]) + step // 2) // step)


@jit
def measure_luma(pixels: NDArray[Any], step: int, out: NDArray[np.uint8]) -> None:
    """Compute the luma of pixels, ITU-R BT.601, rounded to 8 bits: (1, H, W)."""
    half = np.int64(500 * step)
    for y in range(out.shape[1]):
        for x in range(out.shape[2]):
            red, green, blue = pixels[y, x, 0], pixels[y, x, 1], pixels[y, x, 2]
            total = 299 * np.int64(red) + 587 * np.int64(green) + 114 * np.int64(blue)
            out[0, y, x] = np.uint8((total + half) // (1000 * step))


@jit
def measure_chroma(pixels: NDArray[Any], step: int, out: NDArray[np.uint8]) -> None:
    """Compute the mean chroma of squares of 2 x 2 pixels as JPEG has it: (2, H / 2, W / 2)."""
    for y in range(out.shape[1]):
        for x in range(out.shape[2]):
            red = green = blue = 0.0
            count = 0
            for v in range(2 * y, min(2 * y + 2, pixels.shape[0])):
                for u in range(2 * x, min(2 * x + 2, pixels.shape[1])):
                    red += pixels[v, u, 0]
                    green += pixels[v, u, 1]
                    blue += pixels[v, u, 2]
                    count += 1
            unit = count * step
            luma = 0.299 * red + 0.587 * green + 0.114 * blue
            out[0, y, x] = np.uint8(min(128 + (blue - luma) / (1.772 * unit) + 0.5, 255.0))
            out[1, y, x] = np.uint8(min(128 + (red - luma) / (1.402 * unit) + 0.5, 255.0))


@jit
def add_change(
    pixels: NDArray[Any], before: NDArray[np.uint8], after: NDArray[np.uint8], factor: float
) -> None:
    """Add to each pixel how much its planes were changed; unchanged ones stay as they are.

    Args:
        pixels: (H, W, 3), changed.
        before: (C, H, W), one plane for all channels or one for each.
        after: likewise.
        factor: levels of the pixels that a level of the planes is worth.
    """
    top = 65535 if pixels.itemsize == 2 else 255
    for y in range(pixels.shape[0]):
        for x in range(pixels.shape[1]):
            for c in range(3):
                plane = min(c, len(before) - 1)
                change = np.int64(after[plane, y, x]) - np.int64(before[plane, y, x])
                if change:
                    value = np.int64(pixels[y, x, c]) + np.int64(np.rint(change * factor))
                    pixels[y, x, c] = min(max(value, 0), top)


@jit
def replace_chroma(
    pixels: NDArray[Any], chroma: NDArray[np.uint8], above: int, strength: float, step: int
) -> None:
    """Replace the chroma of pixels by chroma of half the size, interpolated; luma stays.

    Args:
        pixels: (H, W, 3), changed.
        chroma: (2, h, w), whose rows begin `above` rows before the pixels'.
        above: 0 or 1.
        strength: the share of the new chroma.
        step: levels of the pixels in an 8-bit level: 1 or 257.
    """
    top = 65535.0 if pixels.itemsize == 2 else 255.0
    mixed = np.empty(2)
    for y in range(pixels.shape[0]):
        row = y // 2 + above
        other = min(max(row + 2 * (y % 2) - 1, 0), chroma.shape[1] - 1)
        for x in range(pixels.shape[1]):
            column = x // 2
            beside = min(max(column + 2 * (x % 2) - 1, 0), chroma.shape[2] - 1)
            for c in range(2):
                near = 3.0 * chroma[c, row, column] + chroma[c, row, beside]
                far = 3.0 * chroma[c, other, column] + chroma[c, other, beside]
                mixed[c] = ((3.0 * near + far) / 16.0 - 128.0) * step
            red, green, blue = pixels[y, x, 0], pixels[y, x, 1], pixels[y, x, 2]
            luma = 0.299 * red + 0.587 * green + 0.114 * blue
            found = (
                luma + 1.402 * mixed[1],
                luma - 0.344136 * mixed[0] - 0.714136 * mixed[1],
                luma + 1.772 * mixed[0],
            )
            for c in range(3):
                value = pixels[y, x, c] + strength * (found[c] - pixels[y, x, c])
                pixels[y, x, c] = np.rint(min(max(value, 0.0), top))
