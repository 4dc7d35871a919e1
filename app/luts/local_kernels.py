"""The compiled loops that apply several LUTs at once, mixed by a map; see `app.luts.kernels`.

The corners and weights of a colour are the same in all tables, whose entries lie side by side. For
each row of pixels, the map is first interpolated to that row. The shares of a pixel are computed
with floats also where its colours are packed: the integer units of the processor are the busier.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.jit import jit, jit_reordered
from app.luts.kernels import (
    FLOAT_ONE,
    LANES,
    ONE,
    VALUE_MASK,
    WEIGHT_BITS,
    WEIGHT_ONE,
    Colour,
    load_keys,
    round_level,
    tetrahedron,
    unpack,
)
from app.luts.local_lut import MAX_TABLES

Luma: TypeAlias = tuple[np.uint64, np.uint64, np.uint64]  # for a level of red, green and blue
Spot: TypeAlias = tuple[np.uint64, np.float32, np.float32]  # a cell; fractions of column and luma

LUMA_BITS, FINE_BITS = np.uint64(40), np.uint64(24)  # of a fraction of luma, exact and as a float
FINE_MASK, FINE_UNIT = np.uint64((1 << 24) - 1), np.float32(2.0**-24)
LANE_MASK = VALUE_MASK * LANES
ZERO = np.uint64(0)


@jit
def mix_two_packed(
    keys: NDArray[np.uint64],
    tables: NDArray[np.uint64],
    levels: NDArray[np.uint8],
    span: np.uint64,
    cells: NDArray[np.uint8],
    luma: Luma,
    columns: NDArray[np.uint64],
    fractions: NDArray[np.float32],
    rows: NDArray[np.float64],
    pixels: NDArray[np.uint8],
) -> None:
    """Interpolate pixels tetrahedrally in two tables, and mix the results, in place.

    Args:
        keys: (3, 256), fractions of 8 bits, and 2 times the offsets of one table.
        tables: (2 size ** 3,), packed, entries of the same colour side by side.
        levels: (8192,), the level of each interpolated value.
        span: from the near to the far corner of a cell.
        cells: (1, L, H', W'), the map; see `LocalLut`.
        luma: levels of luma for each level of red, green and blue, in 2^-40.
        columns: (1, W) or (H, W), L times the column of the map on the left of each pixel.
        fractions: as `columns`, the way from there to the next column, in 0..1.
        rows: (H,), places in rows of the map.
        pixels: (H, W, 3), changed in place.
    """
    depth = np.uint64(cells.shape[1])
    shares = _make_shares(cells, 1)
    width = pixels.shape[1]
    for i in range(pixels.shape[0]):
        _sum_shares(cells, rows[i], shares)
        row = i if len(columns) > 1 else 0
        left, fraction, line = columns[row], fractions[row], pixels[i]
        # As in `tetrahedral_packed`, the next pixel is loaded before this one is computed.
        colour, spot = load_keys(keys, line[0]), _locate(line[0], left[0], fraction[0], luma)
        for j in range(1, width):
            total = _mix_two(tables, shares, colour, span, spot, depth)
            colour, spot = load_keys(keys, line[j]), _locate(line[j], left[j], fraction[j], luma)
            unpack(total, levels, line[j - 1])
        unpack(_mix_two(tables, shares, colour, span, spot, depth), levels, line[width - 1])


@jit_reordered
def mix_float(
    keys: NDArray[np.uint64],
    steps: NDArray[np.float32],
    top: np.float32,
    span: np.uint64,
    cells: NDArray[np.uint8],
    luma: Luma,
    columns: NDArray[np.uint64],
    fractions: NDArray[np.float32],
    rows: NDArray[np.float64],
    pixels: NDArray[Any],
) -> None:
    """Mix up to `MAX_TABLES` tables; see `mix_two_packed`.

    All tables are computed at once, in the lanes of vectors, also those without a share: that is
    faster than to choose. A mix is the sum of the steps from each table to the next, each times
    the share of all tables from there on.

    Args:
        keys: (3, top + 1), fractions of 20 bits.
        steps: (size ** 3, 3 MAX_TABLES), for each channel the first table, what each of the others
            adds to the one before, and zeros; in units of 2^-20 levels.
        top: the highest level.
        span: from the near to the far corner of a cell.
        cells: (K - 1, L, H', W'), the map.
        luma: as in `mix_two_packed`.
        columns: as in `mix_two_packed`.
        fractions: as in `mix_two_packed`.
        rows: as in `mix_two_packed`.
        pixels: (H, W, 3), changed in place.
    """
    depth = np.uint64(cells.shape[1])
    shares = _make_shares(cells, MAX_TABLES)
    last = pixels.shape[1] - 1
    for i in range(pixels.shape[0]):
        _sum_shares(cells, rows[i], shares[:, 1:])
        row = i if len(columns) > 1 else 0
        left, fraction, line = columns[row], fractions[row], pixels[i]
        colour, spot = load_keys(keys, line[0]), _locate(line[0], left[0], fraction[0], luma)
        for j in range(last + 1):
            red, green, blue = _mix_all(steps, shares, colour, span, spot, depth)
            after = min(j + 1, last)
            colour = load_keys(keys, line[after])
            spot = _locate(line[after], left[after], fraction[after], luma)
            pixel = line[j]
            pixel[0] = round_level(red, top)
            pixel[1] = round_level(green, top)
            pixel[2] = round_level(blue, top)


@jit
def _make_shares(cells: NDArray[np.uint8], lanes: int) -> NDArray[np.float32]:
    """Make the array for the sums of shares of a row: ((W' + 1) L + 1, lanes), of ones.

    The last column and level of a map have a neighbour, which is read with a weight of 0.
    """
    _, depth, _, width = cells.shape
    return np.ones(((width + 1) * depth + 1, lanes), np.float32)


@jit
def _sum_shares(cells: NDArray[np.uint8], row: float, shares: NDArray[np.float32]) -> None:
    """Interpolate a map (K - 1, L, H', W') to a row: for each table, the share from it on.

    Args:
        cells: the map.
        row: a place in rows of the map.
        shares: ((W' + 1) L + 1, lanes), of which K - 1 lanes are written: the sums of all tables
            but the first. The last column is repeated.
    """
    count, depth, height, width = cells.shape
    upper = min(int(row), height - 1)
    lower = min(upper + 1, height - 1)
    part = row - upper
    for x in range(width + 1):
        column = min(x, width - 1)
        for level in range(depth):
            total = 0.0
            for k in range(count - 1, -1, -1):
                there, below = cells[k, level, upper, column], cells[k, level, lower, column]
                total += (there * (1.0 - part) + below * part) / 255.0
                shares[x * depth + level, k] = total


@jit
def _locate(pixel: NDArray[Any], left: np.uint64, fraction: np.float32, luma: Luma) -> Spot:
    """Return the cell of the map at the left of and below a pixel's place and luma."""
    level = (
        np.uint64(pixel[0]) * luma[0]
        + np.uint64(pixel[1]) * luma[1]
        + np.uint64(pixel[2]) * luma[2]
    )
    # Signed integers of 32 bits are the fastest to convert.
    upward = np.float32(np.int32((level >> (LUMA_BITS - FINE_BITS)) & FINE_MASK)) * FINE_UNIT
    return left + (level >> LUMA_BITS), fraction, upward


@jit
def _look_up(
    tables: NDArray[np.uint64], corners: tuple[np.uint64, ...], table: np.uint64
) -> np.uint64:
    """Interpolate in one of the tables, packed; the result has 13 bits per lane."""
    near, second, third, far, largest, middle, smallest = corners
    total: np.uint64 = (
        tables[near + table] * (WEIGHT_ONE - largest)
        + tables[second + table] * (largest - middle)
        + tables[third + table] * (middle - smallest)
        + tables[far + table] * smallest
    )
    return (total >> WEIGHT_BITS) & LANE_MASK


@jit
def _mix_two(
    tables: NDArray[np.uint64],
    shares: NDArray[np.float32],
    colour: Colour,
    span: np.uint64,
    spot: Spot,
    depth: np.uint64,
) -> np.uint64:
    """Mix a colour's results in two tables; return 256 times the mix."""
    corners = tetrahedron(colour, span)
    cell, along, upward = spot
    here, there = shares[cell, 0], shares[cell + depth, 0]
    above, over = shares[cell + ONE, 0], shares[cell + depth + ONE, 0]
    low, high = here + along * (there - here), above + along * (over - above)
    mixed = low + upward * (high - low)
    share = np.uint64(np.int32(mixed * np.float32(WEIGHT_ONE) + np.float32(0.5)))
    first, second = _look_up(tables, corners, ZERO), _look_up(tables, corners, ONE)
    total: np.uint64 = (first << WEIGHT_BITS) + (second - first) * share
    return total


@jit_reordered
def _mix_all(
    steps: NDArray[np.float32],
    shares: NDArray[np.float32],
    colour: Colour,
    span: np.uint64,
    spot: Spot,
    depth: np.uint64,
) -> tuple[np.float32, np.float32, np.float32]:
    """Mix a colour's results in all tables; return red, green and blue in levels."""
    near, second, third, far, largest, middle, smallest = tetrahedron(colour, span)
    w0 = np.float32(np.int32(FLOAT_ONE - largest))
    w1 = np.float32(np.int32(largest - middle))
    w2 = np.float32(np.int32(middle - smallest))
    w3 = np.float32(np.int32(smallest))
    t0, t1, t2, t3 = steps[near], steps[second], steps[third], steps[far]
    cell, along, upward = spot
    both = along * upward
    u0, u1, u2 = np.float32(1) - along - upward + both, upward - both, along - both
    s0, s1, s2, s3 = (
        shares[cell],
        shares[cell + ONE],
        shares[cell + depth],
        shares[cell + depth + ONE],
    )
    red, green, blue = np.float32(0), np.float32(0), np.float32(0)
    for k in range(MAX_TABLES):
        share = u0 * s0[k] + u1 * s1[k] + u2 * s2[k] + both * s3[k]
        red += share * (w0 * t0[k] + w1 * t1[k] + w2 * t2[k] + w3 * t3[k])
        g = k + MAX_TABLES
        green += share * (w0 * t0[g] + w1 * t1[g] + w2 * t2[g] + w3 * t3[g])
        b = g + MAX_TABLES
        blue += share * (w0 * t0[b] + w1 * t1[b] + w2 * t2[b] + w3 * t3[b])
    return red, green, blue
