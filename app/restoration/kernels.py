"""The compiled loops of spatial LUTs.

Maps are padded and flattened: a tap is the distance between two positions in memory. Each row of
pixels is processed group by group: `find_corners` finds the entries and weights of all pixels
of the row, `_accumulate` adds the weighted entries. Both loops are short enough to be vectorised.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.jit import jit

Ints = NDArray[np.int32]

CORNERS = 5  # of a simplex in four dimensions
_STRIDE_BITS = 13  # 17 ** 3 fits
_STRIDE_MASK = (1 << _STRIDE_BITS) - 1


@jit
def simplex(
    maps: NDArray[np.uint8],
    row_length: int,
    origin: int,
    offsets: NDArray[np.int64],
    strides: Ints,
    shift: np.int32,
    luts: NDArray[np.int64],
    turns: NDArray[np.int64],
    tables: NDArray[np.int8],
    order: NDArray[np.int64],
    scale: int,
    denominator: float,
    bias: float,
    residual: bool,
    diagonal: int,
    coarse_strides: Ints,
    coarse_start: np.int32,
    out: NDArray[np.uint8],
) -> None:
    """Compute a stage of interpolated LUTs of up to four taps.

    Args:
        maps: the padded input maps, flattened.
        row_length: of a padded map.
        origin: the position in `maps` of the first pixel.
        offsets: (G, 4), the distance of each tap of each group from the pixel.
        strides: (4,), the distance in a table between neighbours on the axis of each tap.
        shift: the number of fractional bits of a level: the grid step is 2 ** shift.
        luts: (G,), the index of the table of each group.
        turns: (G,), the rotation of each group, 0..3.
        tables: (K, entries, V) with V = M * scale ** 2.
        order: (4, V), the value of an entry that belongs to each output, by rotation.
        scale: the number of output rows and columns of a pixel.
        denominator: the weighted sum is divided by it.
        bias: added after the division; the result is clamped to 0..255 and rounded half to even.
        residual: whether the pixel of the first map is added, too.
        diagonal: the largest difference of the taps that the fine entries hold; 0 for any.
        coarse_strides: as of `strides`, for the entries that others are read from: their grid
            has twice the step.
        coarse_start: the first of these entries.
        out: (M, H * scale, W * scale), written.
    """
    count, height, width = out.shape[0], out.shape[1] // scale, out.shape[2] // scale
    values = tables.shape[2]
    entries = np.empty((CORNERS, width), np.int32)
    weights = np.empty((CORNERS, width), np.int32)
    coarse_entries, coarse_weights = np.empty_like(entries), np.empty_like(weights)
    twice = np.int32(shift + 1)
    sums = np.empty((4, width, values), np.int32)
    for y in range(height):
        sums[:] = 0
        for g in range(offsets.shape[0]):
            start = origin + y * row_length
            find_corners(maps, start, offsets[g], strides, shift, entries, weights)
            if diagonal:
                others, factors = coarse_entries, coarse_weights
                find_corners(maps, start, offsets[g], coarse_strides, twice, others, factors)
                others += coarse_start
                _choose(maps, start, offsets[g], diagonal, entries, weights, others, factors)
            if values == 1:
                _accumulate_one(tables[luts[g]], entries, weights, sums[turns[g]])
            else:
                _accumulate(tables[luts[g]], entries, weights, sums[turns[g]])
        for m in range(count):
            for u in range(scale):
                row = out[m, y * scale + u]
                for v in range(scale):
                    k = (m * scale + u) * scale + v
                    k0, k1, k2, k3 = order[0, k], order[1, k], order[2, k], order[3, k]
                    for x in range(width):
                        total = sums[0, x, k0] + sums[1, x, k1] + sums[2, x, k2] + sums[3, x, k3]
                        value = total / denominator + bias
                        if residual:
                            value += maps[origin + y * row_length + x]
                        row[x * scale + v] = np.uint8(np.rint(min(max(value, 0.0), 255.0)))


@jit
def find_corners(
    maps: NDArray[np.uint8],
    start: int,
    offsets: NDArray[np.int64],
    strides: Ints,
    shift: np.int32,
    entries: Ints,
    weights: Ints,
) -> None:
    """Find the corners of the simplex around each pixel of a row, and their weights.

    The fractions of the four axes are sorted by a network of five comparators; each carries the
    stride of its axis in its low bits.
    """
    o0, o1, o2, o3 = start + offsets[0], start + offsets[1], start + offsets[2], start + offsets[3]
    s0, s1, s2, s3 = strides[0], strides[1], strides[2], strides[3]
    step = np.int32(1) << shift
    mask = step - np.int32(1)
    for x in range(entries.shape[1]):
        a, b = np.int32(maps[o0 + x]), np.int32(maps[o1 + x])
        c, d = np.int32(maps[o2 + x]), np.int32(maps[o3 + x])
        near = (a >> shift) * s0 + (b >> shift) * s1 + (c >> shift) * s2 + (d >> shift) * s3
        a = ((a & mask) << _STRIDE_BITS) | s0
        b = ((b & mask) << _STRIDE_BITS) | s1
        c = ((c & mask) << _STRIDE_BITS) | s2
        d = ((d & mask) << _STRIDE_BITS) | s3
        a, b = max(a, b), min(a, b)
        c, d = max(c, d), min(c, d)
        a, c = max(a, c), min(a, c)
        b, d = max(b, d), min(b, d)
        b, c = max(b, c), min(b, c)
        entries[0, x] = near
        near += a & _STRIDE_MASK
        entries[1, x] = near
        near += b & _STRIDE_MASK
        entries[2, x] = near
        near += c & _STRIDE_MASK
        entries[3, x] = near
        entries[4, x] = near + (d & _STRIDE_MASK)
        a, b, c, d = a >> _STRIDE_BITS, b >> _STRIDE_BITS, c >> _STRIDE_BITS, d >> _STRIDE_BITS
        weights[0, x] = step - a
        weights[1, x] = a - b
        weights[2, x] = b - c
        weights[3, x] = c - d
        weights[4, x] = d


@jit
def _choose(
    maps: NDArray[np.uint8],
    start: int,
    offsets: NDArray[np.int64],
    diagonal: int,
    entries: Ints,
    weights: Ints,
    coarse_entries: Ints,
    coarse_weights: Ints,
) -> None:
    """Replace the corners of pixels far from the diagonal; double the weights of the others."""
    for x in range(entries.shape[1]):
        pixel, farthest = np.int32(maps[start + offsets[0] + x]), np.int32(0)
        for t in range(1, len(offsets)):
            difference = np.int32(maps[start + offsets[t] + x]) - pixel
            farthest = max(farthest, difference, -difference)
        for j in range(CORNERS):
            if farthest > diagonal:
                entries[j, x] = coarse_entries[j, x]
                weights[j, x] = coarse_weights[j, x]
            else:
                weights[j, x] *= 2


@jit
def _accumulate(table: NDArray[np.int8], entries: Ints, weights: Ints, sums: Ints) -> None:
    """Add the weighted entries (entries, V) of a row to `sums` (W, V)."""
    values = table.shape[1]
    for x in range(sums.shape[0]):
        total = sums[x]
        for j in range(CORNERS):
            weight, entry = weights[j, x], table[entries[j, x]]
            for k in range(values):
                total[k] += weight * entry[k]


@jit
def _accumulate_one(table: NDArray[np.int8], entries: Ints, weights: Ints, sums: Ints) -> None:
    """Compute the same for tables of a single value."""
    for x in range(sums.shape[0]):
        sums[x, 0] += (
            weights[0, x] * table[entries[0, x], 0]
            + weights[1, x] * table[entries[1, x], 0]
            + weights[2, x] * table[entries[2, x], 0]
            + weights[3, x] * table[entries[3, x], 0]
            + weights[4, x] * table[entries[4, x], 0]
        )


@jit
def direct(
    maps: NDArray[np.float32],
    taps: NDArray[np.int64],
    bias: np.float32,
    levels: int,
    table: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Add the entries of a table without interpolation.

    Args:
        maps: (C, H + dy, W + dx).
        taps: (n, 3), the map and the offset (dy, dx) of each tap, not negative.
        bias: added to a value before it is rounded down to a level 0..levels - 1.
        levels: of each axis.
        table: (levels ** n, V).
        out: (V, H, W), added to.
    """
    values, height, width = out.shape
    for y in range(height):
        for x in range(width):
            row = 0
            for t in range(taps.shape[0]):
                value = np.floor(maps[taps[t, 0], y + taps[t, 1], x + taps[t, 2]] + bias)
                row = row * levels + int(min(max(value, np.float32(0)), np.float32(levels - 1)))
            for v in range(values):
                out[v, y, x] += table[row, v]


@jit
def sum_of_tables(
    maps: NDArray[Any],
    taps: NDArray[np.int64],
    starts: NDArray[np.int64],
    table: NDArray[np.int8],
    out: NDArray[np.int32],
) -> None:
    """Add one entry of a one-dimensional table for each tap.

    Args:
        maps: (C, H + dy, W + dx) integers.
        taps: (n, 3), as of `direct`.
        starts: (n,), the row of the value 0 of each tap.
        table: (rows, V).
        out: (V, H, W), added to.
    """
    values, height, width = out.shape
    for y in range(height):
        for x in range(width):
            for t in range(taps.shape[0]):
                row = starts[t] + maps[taps[t, 0], y + taps[t, 1], x + taps[t, 2]]
                for v in range(values):
                    out[v, y, x] += table[row, v]


@jit
def luma(pixels: NDArray[Any], step: int, out: NDArray[np.uint8]) -> None:
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
