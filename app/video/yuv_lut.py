"""A LUT over Y'CbCr, so that one look-up takes a pixel from planes to planes.

The nodes of the table lie `1 << (bits - 6)` levels apart. The fractions between them are thus
exact, and black, grey and the ends of the chroma range are nodes. A node holds what the way through
RGB makes of it: conversion, clamping, the LUT, clamping and conversion back.

Pixels that share a chroma sample are looked up with the same chroma, and the results of their
chroma are averaged: a frame that no look changes keeps its chroma, wherever the samples lie.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.jit import jit
from app.luts.apply import Pixels
from app.luts.kernels import BLUE, FRACTION, GREEN, LANES, OFFSET, ONE, tetrahedron
from app.video.yuv import ColourEncoding, PlaneLayout, Planes, luma_chroma_matrix

NODE_BITS = 6
NODES = (1 << NODE_BITS) + 1  # on each axis; the last is one level above the highest

# An entry holds three values 21 bits apart. Fractions take bits - 6 of them, of at most 12 bits.
VALUE_BITS = 15
_VALUE_MASK = np.uint64((1 << VALUE_BITS) - 1)
_VALUES = _VALUE_MASK * LANES
_LANE_MASK = (ONE << GREEN) - ONE
_SPAN = np.uint64(1 + NODES + NODES * NODES)  # from the near to the far corner of a cell
_TWO = np.uint64(2)
_PART_BITS = np.uint64(6)
_PARTS = 1 << 6


class YuvLutBaker:
    """Makes tables over Y'CbCr from LUTs over RGB, and applies them to planes of one layout."""

    def __init__(self, layout: PlaneLayout, encoding: ColourEncoding) -> None:
        """Compute the colours of the nodes."""
        self._layout = layout
        matrix, offset = luma_chroma_matrix(layout, encoding)
        axis = np.minimum(np.arange(NODES) << (layout.bits - NODE_BITS), (1 << layout.bits) - 1)
        cr, cb, luma = np.meshgrid(axis, axis, axis, indexing="ij")
        colours = (np.stack((luma, cb, cr), axis=-1) - offset) @ np.linalg.inv(matrix).T
        top = np.iinfo(np.uint16).max
        levels = np.rint(colours.clip(0, 1) * top).astype(np.uint16)
        self._colours = levels.reshape(NODES * NODES, NODES, 3)
        steps = 1 << (VALUE_BITS - layout.bits)  # of a value per level
        self._matrix = (matrix * (steps / top)).astype(np.float32)
        self._offset = (offset * steps + steps / 2).astype(np.float32)  # values are truncated
        self._keys = _make_keys(layout.bits)

    def bake(self, apply: Callable[[Pixels], None]) -> NDArray[np.uint64]:
        """Return the table of a LUT.

        Args:
            apply: passes RGB pixels (H, W, 3), uint16, through the LUT, in place.

        Returns:
            (NODES ** 3,): luma, Cb and Cr from the lowest bits on.
        """
        colours = self._colours.copy()
        apply(colours)
        return _pack(colours.reshape(-1, 3), self._matrix, self._offset)

    def apply(self, table: NDArray[np.uint64], planes: Planes) -> None:
        """Pass planes through a table, in place; releases the GIL."""
        layout = self._layout
        shift = np.uint64(layout.horizontal), layout.vertical
        _apply(*planes, *shift, np.uint64(layout.bits), self._keys, table)


def blend_tables(
    first: NDArray[np.uint64], second: NDArray[np.uint64], part: float
) -> NDArray[np.uint64]:
    """Return the table between two; `part` is 0 for the first, 1 for the second."""
    return _blend(first, second, np.uint64(round(part * _PARTS)))


def _make_keys(bits: int) -> NDArray[np.uint64]:
    """Compute the keys (3, 1 << bits) of all levels of Y, Cb and Cr; see `app.luts.kernels`."""
    level = np.arange(1 << bits, dtype=np.uint64)
    step = np.uint64(bits - NODE_BITS)
    fraction, cell = level & ((ONE << step) - ONE), level >> step
    distances = [np.uint64(NODES**axis) for axis in range(3)]
    return np.stack([fraction << FRACTION | cell * it << OFFSET | it for it in distances])


@jit
def _pack(
    colours: NDArray[np.uint16], matrix: NDArray[np.float32], offset: NDArray[np.float32]
) -> NDArray[np.uint64]:
    packed = np.empty(colours.shape[0], np.uint64)
    top = np.float32(_VALUE_MASK)
    for i in range(colours.shape[0]):
        red, green = np.float32(colours[i, 0]), np.float32(colours[i, 1])
        blue = np.float32(colours[i, 2])
        entry = np.uint64(0)
        for c in range(3):
            value = matrix[c, 0] * red + matrix[c, 1] * green + matrix[c, 2] * blue + offset[c]
            entry |= np.uint64(min(max(value, np.float32(0)), top)) << (GREEN * np.uint64(c))
        packed[i] = entry
    return packed


@jit
def _blend(
    first: NDArray[np.uint64], second: NDArray[np.uint64], part: np.uint64
) -> NDArray[np.uint64]:
    blended = np.empty_like(first)
    rest = (ONE << _PART_BITS) - part
    for i in range(first.size):
        blended[i] = ((first[i] * rest + second[i] * part) >> _PART_BITS) & _VALUES
    return blended


@jit
def _apply(
    luma: NDArray[Any],
    cb: NDArray[Any],
    cr: NDArray[Any],
    horizontal: np.uint64,
    vertical: int,
    bits: np.uint64,
    keys: NDArray[np.uint64],
    table: NDArray[np.uint64],
) -> None:
    step, shift = bits - np.uint64(NODE_BITS), np.uint64(VALUE_BITS) - bits
    top = np.uint64(keys.shape[1] - 1)  # damaged files hold samples beyond it
    # Unsigned indices: the compiler would test signed ones for negative values.
    last_row, last_column = luma.shape[0] - 1, np.uint64(luma.shape[1] - 1)
    for i in range(cb.shape[0]):
        row = i << vertical
        upper, lower = luma[row], luma[min(row + vertical, last_row)]
        blues, reds = cb[i], cr[i]
        for j in range(cb.shape[1]):
            left = np.uint64(j) << horizontal
            right = min(left + horizontal, last_column)
            chroma = keys[1, blues[j] & top], keys[2, reds[j] & top]
            # All pixels are read before any is written: at odd edges two of them are one.
            y0, y1 = keys[0, upper[left] & top], keys[0, upper[right] & top]
            y2, y3 = keys[0, lower[left] & top], keys[0, lower[right] & top]
            v0 = _look_up(table, chroma, y0, step)
            v1 = _look_up(table, chroma, y1, step) if horizontal else v0
            v2 = _look_up(table, chroma, y2, step) if vertical else v0
            v3 = _look_up(table, chroma, y3, step) if horizontal and vertical else v1 + v2 - v0
            upper[left], upper[right] = (v0 & _VALUE_MASK) >> shift, (v1 & _VALUE_MASK) >> shift
            lower[left], lower[right] = (v2 & _VALUE_MASK) >> shift, (v3 & _VALUE_MASK) >> shift
            total = v0 + v1 + v2 + v3
            blues[j] = ((total >> GREEN) & _LANE_MASK) >> (shift + _TWO)
            reds[j] = (total >> BLUE) >> (shift + _TWO)


@jit
def _look_up(
    table: NDArray[np.uint64],
    chroma: tuple[np.uint64, np.uint64],
    luma: np.uint64,
    step: np.uint64,
) -> np.uint64:
    """Interpolate tetrahedrally between nodes that are `1 << step` levels apart."""
    # The compiler sorts the chroma once for the pixels that share it.
    near, second, third, far, largest, middle, smallest = tetrahedron((*chroma, luma), _SPAN)
    total = (
        table[near] * ((ONE << step) - largest)
        + table[second] * (largest - middle)
        + table[third] * (middle - smallest)
        + table[far] * smallest
    )
    values: np.uint64 = (total >> step) & _VALUES
    return values
