"""The compiled loops that apply LUTs, and the layout of the integers that they read.

Each level of a channel has a **key** of 64 bits, looked up once per pixel. From the top, it holds
the fraction of the way to the next lattice position, the offset of the lattice position in the
flattened table, and the distance to the next position. Keys therefore sort by fraction, as
tetrahedral interpolation requires, and carry their axis. The sum of three keys holds the near
corner of the cell. A shaper costs no time, since it changes the keys alone.

A **packed** entry of a table holds its three channels in one 64-bit integer, 21 bits apart, 13
bits each. Weights of 8 bits add up to 256, so a weighted sum of entries fits into the 21 bits
without a carry: one multiplication computes three channels.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.jit import jit

Colour: TypeAlias = tuple[np.uint64, np.uint64, np.uint64]  # the keys of red, green and blue

# Numba converts uint64 and a signed integer to float64, so all constants are unsigned.
ONE = np.uint64(1)

# A key: 21 bits of fraction, 25 of offset, 18 of distance; the last two hold sums of three.
FRACTION, OFFSET = np.uint64(43), np.uint64(18)
OFFSET_MASK, DISTANCE_MASK = np.uint64((1 << 25) - 1), np.uint64((1 << 18) - 1)

# The fraction 1 in the keys of the packed and of the float loops.
WEIGHT_BITS, WEIGHT_ONE, WEIGHT_HALF = np.uint64(8), np.uint64(256), np.uint64(128)
FLOAT_ONE = np.uint64(1 << 20)

# A packed entry.
GREEN, BLUE = np.uint64(21), np.uint64(42)
LANES = ONE | ONE << GREEN | ONE << BLUE
VALUE_MASK = np.uint64((1 << 13) - 1)


@jit
def pack(table: NDArray[np.float32], lowest: np.float32, steps: np.float32) -> NDArray[np.uint64]:
    """Pack a table (N, 3) into (N,) integers.

    Args:
        table: values from `lowest` on.
        lowest: the value that becomes 0.
        steps: per unit.
    """
    packed = np.empty(table.shape[0], np.uint64)
    for i in range(table.shape[0]):
        entry = table[i]
        red = np.uint64(np.rint((entry[0] - lowest) * steps))
        green = np.uint64(np.rint((entry[1] - lowest) * steps))
        blue = np.uint64(np.rint((entry[2] - lowest) * steps))
        packed[i] = red | green << GREEN | blue << BLUE
    return packed


@jit
def tetrahedral_packed(
    keys: NDArray[np.uint64],
    table: NDArray[np.uint64],
    levels: NDArray[np.uint8],
    size: np.uint64,
    pixels: NDArray[np.uint8],
) -> None:
    """Interpolate (N, 3) pixels tetrahedrally in place.

    Args:
        keys: (3, 256), fractions of 8 bits.
        table: (size ** 3,), packed.
        levels: (8192,), the level of each interpolated value.
        size: of the table, along each axis.
        pixels: (N, 3), changed in place.
    """
    count = pixels.shape[0]
    if count == 0:
        return
    # The keys of the next pixel are loaded before this one is computed, which hides the latency
    # of the loads.
    colour = load_keys(keys, pixels[0])
    for i in range(1, count):
        total = _tetrahedral(table, colour, size)
        colour = load_keys(keys, pixels[i])
        unpack(total, levels, pixels[i - 1])
    unpack(_tetrahedral(table, colour, size), levels, pixels[count - 1])


@jit
def trilinear_packed(
    keys: NDArray[np.uint64],
    table: NDArray[np.uint64],
    levels: NDArray[np.uint8],
    size: np.uint64,
    pixels: NDArray[np.uint8],
) -> None:
    """Interpolate trilinearly in place; the arguments are those of `tetrahedral_packed`."""
    for i in range(pixels.shape[0]):  # faster than `for pixel in pixels`
        pixel = pixels[i]
        red, green, blue = load_keys(keys, pixel)
        corner = ((red + green + blue) >> OFFSET) & OFFSET_MASK
        x, y, z = red >> FRACTION, green >> FRACTION, blue >> FRACTION
        # The product alone is rounded, so the four weights add up to exactly 256.
        both = (x * y + WEIGHT_HALF) >> WEIGHT_BITS
        weights = WEIGHT_ONE - x - y + both, x - both, y - both, both
        near = _face(table, corner, size, weights)
        far = _face(table, corner + size * size, size, weights)
        unpack(near * (WEIGHT_ONE - z) + far * z, levels, pixel)


@jit
def tetrahedral_float(
    keys: NDArray[np.uint64],
    table: NDArray[np.float32],
    top: np.float32,
    size: np.uint64,
    pixels: NDArray[Any],
) -> None:
    """Interpolate (N, 3) pixels tetrahedrally in place.

    Args:
        keys: (3, top + 1), fractions of 20 bits.
        table: (size ** 3, 3).
        top: the highest level.
        size: of the table, along each axis.
        pixels: (N, 3) unsigned integers, changed in place.
    """
    scale = top / np.float32(FLOAT_ONE)
    for i in range(pixels.shape[0]):
        pixel = pixels[i]
        near, second, third, far, largest, middle, smallest = tetrahedron(
            load_keys(keys, pixel), span_of(size)
        )
        w0 = scale * np.float32(FLOAT_ONE - largest)
        w1 = scale * np.float32(largest - middle)
        w2 = scale * np.float32(middle - smallest)
        w3 = scale * np.float32(smallest)
        for c in range(3):
            total = w0 * table[near, c] + w1 * table[second, c]
            total += w2 * table[third, c] + w3 * table[far, c]
            pixel[c] = round_level(total, top)


@jit
def trilinear_float(
    keys: NDArray[np.uint64],
    table: NDArray[np.float32],
    top: np.float32,
    size: np.uint64,
    pixels: NDArray[Any],
) -> None:
    """Interpolate trilinearly in place; the arguments are those of `tetrahedral_float`."""
    unit = np.float32(1)  # a literal would convert the weights to float64
    scale = unit / np.float32(FLOAT_ONE)
    for i in range(pixels.shape[0]):
        pixel = pixels[i]
        red, green, blue = load_keys(keys, pixel)
        near = ((red + green + blue) >> OFFSET) & OFFSET_MASK
        far = near + size * size
        x = np.float32(red >> FRACTION) * scale
        y = np.float32(green >> FRACTION) * scale
        z = np.float32(blue >> FRACTION) * scale
        w3 = x * y
        w0, w1, w2 = unit - x - y + w3, x - w3, y - w3
        for c in range(3):
            front = w0 * table[near, c] + w1 * table[near + ONE, c]
            front += w2 * table[near + size, c] + w3 * table[near + size + ONE, c]
            back = w0 * table[far, c] + w1 * table[far + ONE, c]
            back += w2 * table[far + size, c] + w3 * table[far + size + ONE, c]
            pixel[c] = round_level(top * (front + z * (back - front)), top)


@jit
def load_keys(keys: NDArray[np.uint64], pixel: NDArray[Any]) -> Colour:
    """Load the keys of the channels of a pixel."""
    return keys[0, pixel[0]], keys[1, pixel[1]], keys[2, pixel[2]]


@jit
def _tetrahedral(table: NDArray[np.uint64], colour: Colour, size: np.uint64) -> np.uint64:
    """Interpolate a colour in a packed table; return 256 times the result."""
    near, second, third, far, largest, middle, smallest = tetrahedron(colour, span_of(size))
    total: np.uint64 = (
        table[near] * (WEIGHT_ONE - largest)
        + table[second] * (largest - middle)
        + table[third] * (middle - smallest)
        + table[far] * smallest
    )
    return total


@jit
def span_of(size: np.uint64) -> np.uint64:
    """Return the distance from the near to the far corner of a cell."""
    return ONE + size + size * size


@jit
def tetrahedron(colour: Colour, span: np.uint64) -> tuple[np.uint64, ...]:
    """Return the offsets of the four corners, nearest first, and the sorted fractions."""
    red, green, blue = colour
    total = red + green + blue
    larger, smaller = max(red, green), min(red, green)
    largest, smallest = max(larger, blue), min(smaller, blue)
    middle = total - largest - smallest
    near = (total >> OFFSET) & OFFSET_MASK
    far = near + span
    second = near + (largest & DISTANCE_MASK)
    third = far - (smallest & DISTANCE_MASK)
    return near, second, third, far, largest >> FRACTION, middle >> FRACTION, smallest >> FRACTION


@jit
def _face(
    table: NDArray[np.uint64], near: np.uint64, size: np.uint64, weights: tuple[np.uint64, ...]
) -> np.uint64:
    """Interpolate bilinearly in a plane of equal blue, rounded to 13 bits per lane."""
    total: np.uint64 = (
        table[near] * weights[0]
        + table[near + ONE] * weights[1]
        + table[near + size] * weights[2]
        + table[near + size + ONE] * weights[3]
    )
    return ((total + WEIGHT_HALF * LANES) >> WEIGHT_BITS) & (VALUE_MASK * LANES)


@jit
def unpack(total: np.uint64, levels: NDArray[np.uint8], pixel: NDArray[np.uint8]) -> None:
    """Write the levels of a packed sum, 256 times the result, into a pixel."""
    pixel[0] = levels[(total >> WEIGHT_BITS) & VALUE_MASK]
    pixel[1] = levels[(total >> (WEIGHT_BITS + GREEN)) & VALUE_MASK]
    pixel[2] = levels[total >> (WEIGHT_BITS + BLUE)]


@jit
def round_level(value: np.float32, top: np.float32) -> int:
    """Clamp a value to 0..top, and round it."""
    return int(min(max(value, np.float32(0)), top) + np.float32(0.5))
