"""The compiled loops of spatial LUTs.

Maps are padded and flattened: a tap is the distance between two positions in memory. Each row of
pixels is processed group by group: `find` finds the entries and weights of all pixels
of the row, `_accumulate` adds the weighted entries. Both loops are short enough to be vectorised.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.jit import jit

Ints = NDArray[np.int32]

CORNERS = 5  # of a simplex in four dimensions
HALF = 127.0  # the largest entry
_STRIDE_BITS = 13  # 17 ** 3 fits
_STRIDE_MASK = (1 << _STRIDE_BITS) - 1


class Geometry(NamedTuple):
    """Where the taps of a layer lie, and which entries they read.

    Attributes:
        offsets: (G, 4), the distance of each tap from the pixel, of each lookup in each rotation.
        strides: (4,), the distance in a table between neighbours on the axis of each tap.
        shift: the number of fractional bits of a level: the grid's step is 2 ** shift.
        interpolated: whether entries are interpolated; otherwise that of the level below is read.
        tables: (G,), the number of the table.
        turns: (G,), the rotation, 0..3.
        order: (4, V), the value of an entry that belongs to each output, by rotation.
        diagonal: the largest difference of the taps that the fine entries hold; 0 for any.
        coarse_strides: as of `strides`, of the entries that are read elsewhere: their grid has
            twice the step.
        fine: the position in the table of each entry of the fine grid.
        coarse_start: the position of the first entry of the coarse grid.
    """

    offsets: NDArray[np.int64]
    strides: Ints
    shift: np.int32
    interpolated: bool
    tables: NDArray[np.int64]
    turns: NDArray[np.int64]
    order: NDArray[np.int64]
    diagonal: int
    coarse_strides: Ints
    fine: Ints
    coarse_start: np.int32


class Finish(NamedTuple):
    """How the sum of a layer's entries becomes its output.

    Attributes:
        scale: the number of output rows and columns of a pixel.
        denominator: the weighted sum is divided by it.
        bias: added afterwards; the result is clamped to 0..255 and rounded half to even.
        residual: whether the pixel of the first map is added, too.
        squashed: whether 127 * tanh(x / 127) of the quotient is used.
    """

    scale: int
    denominator: float
    bias: float
    residual: bool
    squashed: bool


def weight_of(geometry: Geometry) -> int:
    """Return the sum of the weights of a lookup."""
    if not geometry.interpolated:
        return 1
    return (2 if geometry.diagonal else 1) << int(geometry.shift)


@jit
def look_up(
    maps: NDArray[np.uint8],
    row_length: int,
    origin: int,
    geometry: Geometry,
    tables: NDArray[np.int8],
    finish: Finish,
    out: NDArray[np.uint8],
) -> None:
    """Compute a layer.

    Args:
        maps: the padded input maps, flattened.
        row_length: of a padded map.
        origin: the position in `maps` of the first pixel.
        geometry: of the lookups.
        tables: (K, entries, V) with V = M * scale ** 2.
        finish: how outputs are computed from the sums.
        out: (M, H * scale, W * scale), written.
    """
    height, width = out.shape[1] // finish.scale, out.shape[2] // finish.scale
    corners = np.empty((4, CORNERS, width), np.int32)
    sums = np.empty((4, width, tables.shape[2]), np.int32)
    for y in range(height):
        sums[:] = 0
        start = origin + y * row_length
        for g in range(len(geometry.tables)):
            table, turned = tables[geometry.tables[g]], sums[geometry.turns[g]]
            find(maps, start, geometry, g, corners)
            if not geometry.interpolated:
                _accumulate_entries(table, corners[0], turned)
            elif tables.shape[2] == 1:
                _accumulate_one(table, corners[0], corners[1], turned)
            else:
                _accumulate(table, corners[0], corners[1], turned)
        _finish_row(sums, geometry.order, maps[start : start + width], finish, y, out)


@jit
def find(maps: NDArray[np.uint8], start: int, geometry: Geometry, g: int, corners: Ints) -> None:
    """Find the entries that a lookup reads for each pixel of a row, and their weights.

    Args:
        maps: as of `look_up`.
        start: the position of the first pixel of the row.
        geometry: of the lookups.
        g: the number of the lookup.
        corners: (4, CORNERS, W), set to entries and weights; the other half is scratch.
    """
    offsets, strides, shift = geometry.offsets[g], geometry.strides, geometry.shift
    entries, weights, others, factors = corners[0], corners[1], corners[2], corners[3]
    if not geometry.interpolated:
        _find_entries(maps, start, offsets, strides, shift, entries)
        return
    _find_corners(maps, start, offsets, strides, shift, entries, weights)
    if geometry.diagonal:
        twice = np.int32(shift + 1)
        _find_corners(maps, start, offsets, geometry.coarse_strides, twice, others, factors)
        _choose(maps, start, offsets, geometry, corners)


@jit
def _finish_row(
    sums: Ints,
    order: NDArray[np.int64],
    pixels: NDArray[np.uint8],
    finish: Finish,
    y: int,
    out: NDArray[np.uint8],
) -> None:
    """Write the outputs of a row of pixels (W,) from the sums (4, W, V) of each rotation."""
    scale, denominator, bias = finish.scale, finish.denominator, finish.bias
    share = np.int32(finish.residual)
    for m in range(out.shape[0]):
        for u in range(scale):
            row = out[m, y * scale + u]
            for v in range(scale):
                k = (m * scale + u) * scale + v
                k0, k1, k2, k3 = order[0, k], order[1, k], order[2, k], order[3, k]
                for x in range(len(pixels)):
                    total = sums[0, x, k0] + sums[1, x, k1] + sums[2, x, k2] + sums[3, x, k3]
                    value = total / denominator
                    if finish.squashed:
                        value = HALF * math.tanh(value / HALF)
                    value += bias + share * pixels[x]
                    row[x * scale + v] = np.uint8(np.rint(min(max(value, 0.0), 255.0)))


@jit
def _find_corners(
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
def _find_entries(
    maps: NDArray[np.uint8],
    start: int,
    offsets: NDArray[np.int64],
    strides: Ints,
    shift: np.int32,
    entries: Ints,
) -> None:
    """Find the entry at the levels below, for each pixel of a row."""
    entries[0] = 0
    for t in range(len(offsets)):
        stride, first = strides[t], start + offsets[t]
        if stride:
            for x in range(entries.shape[1]):
                entries[0, x] += (np.int32(maps[first + x]) >> shift) * stride


@jit
def _choose(
    maps: NDArray[np.uint8],
    start: int,
    offsets: NDArray[np.int64],
    geometry: Geometry,
    corners: Ints,
) -> None:
    """Take the coarse corners of pixels far from the diagonal; double the weights of others."""
    entries, weights, coarse_entries, coarse_weights = (
        corners[0],
        corners[1],
        corners[2],
        corners[3],
    )
    for x in range(entries.shape[1]):
        pixel, farthest = np.int32(maps[start + offsets[0] + x]), np.int32(0)
        for t in range(1, len(offsets)):
            difference = np.int32(maps[start + offsets[t] + x]) - pixel
            farthest = max(farthest, difference, -difference)
        for j in range(CORNERS):
            if farthest > geometry.diagonal:
                entries[j, x] = coarse_entries[j, x] + geometry.coarse_start
                weights[j, x] = coarse_weights[j, x]
            else:
                entries[j, x] = geometry.fine[entries[j, x]]
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
def _accumulate_entries(table: NDArray[np.int8], entries: Ints, sums: Ints) -> None:
    """Add entries that are not interpolated."""
    for x in range(sums.shape[0]):
        entry = table[entries[0, x]]
        for k in range(table.shape[1]):
            sums[x, k] += entry[k]
