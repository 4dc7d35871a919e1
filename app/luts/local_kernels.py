"""The compiled loops that apply several LUTs at once, mixed by a map; see `app.luts.kernels`.

The corners and weights of a colour are the same in all tables, whose entries lie side by side: keys
hold K times the offsets of one table. For each row of pixels, the map is first interpolated to that
row, as pairs of neighbouring levels of luma in one 64-bit integer, so one sum interpolates both
levels along the row.
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

Spot: TypeAlias = tuple[np.uint64, np.uint64, np.uint64]  # a pair, a place, a level of luma
Scale: TypeAlias = tuple[np.uint64, np.uint64, np.uint64]  # of red, green and blue

LOW, HIGH = np.uint64((1 << 32) - 1), np.uint64(32)  # the two levels of a pair
SHARE_ONE = 65536.0  # a share of 1 in a pair
SHARE_BITS, SHARE_HALF = np.uint64(24), np.uint64(1 << 23)  # from SHARE_ONE, interpolated twice
LUMA_BITS, PLACE_BITS = np.uint64(40), np.uint64(16)
FRACTION_MASK, FINE_MASK = np.uint64(255), np.uint64(65535)
LANE_MASK = VALUE_MASK * LANES
ZERO = np.uint64(0)
PADDED = 16  # tables: `local_lut.MAX_TABLES`, and a whole number of vectors


@jit
def mix_two_packed(
    keys: NDArray[np.uint64],
    tables: NDArray[np.uint64],
    levels: NDArray[np.uint8],
    span: np.uint64,
    cells: NDArray[np.uint8],
    luma: Scale,
    columns: NDArray[np.uint64],
    rows: NDArray[np.float64],
    pixels: NDArray[np.uint8],
) -> None:
    """Interpolate pixels tetrahedrally in two tables, and mix the results, in place.

    Args:
        keys: (3, 256), fractions of 8 bits.
        tables: (2 size ** 3,), packed.
        levels: (8192,), the level of each interpolated value.
        span: from the near to the far corner of a cell.
        cells: (1, L, H', W'), the map; see `LocalLut`.
        luma: levels of luma for each level of a channel, in 2^-40.
        columns: (1, W) or (H, W), places in cells of the map, in 2^-16; the number of the cell is
            times L.
        rows: (H,), places in cells of the map.
        pixels: (H, W, 3), changed in place.
    """
    depth = np.uint64(cells.shape[1])
    pairs = np.empty((1, (cells.shape[3] + 1) * cells.shape[1]), np.uint64)
    width = pixels.shape[1]
    for i in range(pixels.shape[0]):
        _interpolate_rows(cells, rows[i], pairs)
        places, line = columns[i if len(columns) > 1 else 0], pixels[i]
        # As in `tetrahedral_packed`, the next pixel is loaded before this one is computed.
        colour, spot = load_keys(keys, line[0]), _locate(line[0], places[0], luma)
        for j in range(1, width):
            total = _mix_two(tables, pairs[0], colour, span, spot, depth)
            colour, spot = load_keys(keys, line[j]), _locate(line[j], places[j], luma)
            unpack(total, levels, line[j - 1])
        unpack(_mix_two(tables, pairs[0], colour, span, spot, depth), levels, line[width - 1])


@jit_reordered
def mix_float(
    keys: NDArray[np.uint64],
    steps: NDArray[np.float32],
    top: np.float32,
    span: np.uint64,
    cells: NDArray[np.uint8],
    luma: Scale,
    columns: NDArray[np.uint64],
    rows: NDArray[np.float64],
    pixels: NDArray[Any],
) -> None:
    """Mix up to `PADDED` tables, with fractions of 20 bits; see `mix_two_packed`.

    All tables are computed at once, in the lanes of vectors, also those without a share: that is
    faster than to choose. A mix is the sum of the steps from each table to the next, each times
    the share of all tables from there on.

    Args:
        keys: (3, top + 1), fractions of 20 bits.
        steps: (size ** 3, 3 PADDED), for each channel the first table, what each of the others
            adds to the one before, and zeros.
        top: the highest level.
        span: from the near to the far corner of a cell.
        cells: (K - 1, L, H', W'), the map.
        luma: levels of luma for each level of a channel, in 2^-40.
        columns: as in `mix_two_packed`.
        rows: as in `mix_two_packed`.
        pixels: (H, W, 3), changed in place.
    """
    depth = np.uint64(cells.shape[1])
    # One more than the cells, which is read with a weight of 0.
    shares = np.zeros(((cells.shape[3] + 1) * cells.shape[1] + 1, PADDED), np.float32)
    scale, fine = top / np.float32(FLOAT_ONE), np.float32(1.0 / SHARE_ONE)
    for i in range(pixels.shape[0]):
        _sum_shares(cells, rows[i], shares)
        places, line = columns[i if len(columns) > 1 else 0], pixels[i]
        for j in range(line.shape[0]):
            pixel = line[j]
            near, second, third, far, largest, middle, smallest = tetrahedron(
                load_keys(keys, pixel), span
            )
            w0 = scale * np.float32(FLOAT_ONE - largest)
            w1 = scale * np.float32(largest - middle)
            w2 = scale * np.float32(middle - smallest)
            w3 = scale * np.float32(smallest)
            t0, t1, t2, t3 = steps[near], steps[second], steps[third], steps[far]
            base, place, level = _locate(pixel, places[j], luma)
            along = fine * np.float32(place & FINE_MASK)
            upward = fine * np.float32(level & FINE_MASK)
            both = along * upward
            u0, u1, u2 = np.float32(1) - along - upward + both, upward - both, along - both
            s0, s1 = shares[base], shares[base + ONE]
            s2, s3 = shares[base + depth], shares[base + depth + ONE]
            red, green, blue = np.float32(0), np.float32(0), np.float32(0)
            for k in range(PADDED):
                share = u0 * s0[k] + u1 * s1[k] + u2 * s2[k] + both * s3[k]
                red += share * (w0 * t0[k] + w1 * t1[k] + w2 * t2[k] + w3 * t3[k])
                g = k + PADDED
                green += share * (w0 * t0[g] + w1 * t1[g] + w2 * t2[g] + w3 * t3[g])
                b = g + PADDED
                blue += share * (w0 * t0[b] + w1 * t1[b] + w2 * t2[b] + w3 * t3[b])
            pixel[0] = round_level(red, top)
            pixel[1] = round_level(green, top)
            pixel[2] = round_level(blue, top)


@jit
def _sum_shares(cells: NDArray[np.uint8], row: float, shares: NDArray[np.float32]) -> None:
    """Interpolate a map (K - 1, L, H', W') to a row: for each table, the share from it on.

    Args:
        cells: the map.
        row: a place in cells.
        shares: ((W' + 1) L + 1, PADDED), written: 1, then K - 1 sums. The last column is repeated.
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
                shares[x * depth + level, k + 1] = total
            shares[x * depth + level, 0] = 1.0


@jit
def _interpolate_rows(cells: NDArray[np.uint8], row: float, pairs: NDArray[np.uint64]) -> None:
    """Interpolate a map (K - 1, L, H', W') to a row, as pairs (K - 1, (W' + 1) L) of levels.

    The last column and the last level are repeated: all places have a neighbour.
    """
    count, depth, height, width = cells.shape
    upper = min(int(row), height - 1)
    lower = min(upper + 1, height - 1)
    part = row - upper
    for k in range(count):
        for x in range(width + 1):
            column = min(x, width - 1)
            above = ZERO
            for level in range(depth - 1, -1, -1):
                there, below = cells[k, level, upper, column], cells[k, level, lower, column]
                mean = there * (1.0 - part) + below * part
                share = np.uint64(np.rint(mean * (SHARE_ONE / 255.0)))
                if level == depth - 1:
                    above = share
                pairs[k, x * depth + level] = share | above << HIGH
                above = share


@jit
def _locate(pixel: NDArray[Any], place: np.uint64, luma: Scale) -> Spot:
    """Return the index of a pixel's pair, and its place and level, which end in the fractions."""
    level = (
        np.uint64(pixel[0]) * luma[0]
        + np.uint64(pixel[1]) * luma[1]
        + np.uint64(pixel[2]) * luma[2]
    ) >> (LUMA_BITS - PLACE_BITS)
    return (place >> PLACE_BITS) + (level >> PLACE_BITS), place, level


@jit
def _share(pairs: NDArray[np.uint64], spot: Spot, depth: np.uint64) -> np.uint64:
    """Return the share of a table in 2^-32, with fractions of 8 bits."""
    base, place, level = spot
    along = (place >> WEIGHT_BITS) & FRACTION_MASK
    upward = (level >> WEIGHT_BITS) & FRACTION_MASK
    left = pairs[base]
    # Of differences of unsigned integers, the sums are right.
    both = (left << WEIGHT_BITS) + (pairs[base + depth] - left) * along
    low = both & LOW
    share: np.uint64 = (low << WEIGHT_BITS) + ((both >> HIGH) - low) * upward
    return share


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
    pairs: NDArray[np.uint64],
    colour: Colour,
    span: np.uint64,
    spot: Spot,
    depth: np.uint64,
) -> np.uint64:
    """Mix a colour's results in two tables; return 256 times the mix."""
    corners = tetrahedron(colour, span)
    share = (_share(pairs, spot, depth) + SHARE_HALF) >> SHARE_BITS
    first, second = _look_up(tables, corners, ZERO), _look_up(tables, corners, ONE)
    total: np.uint64 = (first << WEIGHT_BITS) + (second - first) * share
    return total
