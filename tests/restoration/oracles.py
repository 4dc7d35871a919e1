"""Slow and simple versions of the published methods, written from their formulas."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray


def interpolate(table: NDArray[np.int8], levels: list[int], step: int = 16) -> NDArray[np.int64]:
    """Interpolate a table (L ** n, V) on the simplex of a point; return `step` times the value."""
    size = 256 // step + 1
    whole = [level // step for level in levels]
    parts = [level % step for level in levels]
    order = sorted(range(len(levels)), key=lambda axis: -parts[axis])
    fractions = [step, *(parts[axis] for axis in order), 0]
    corner, total = list(whole), np.zeros(table.shape[1], np.int64)
    for k in range(len(levels) + 1):
        row = sum(i * size ** (len(levels) - 1 - axis) for axis, i in enumerate(corner))
        total += (fractions[k] - fractions[k + 1]) * table[row].astype(np.int64)
        if k < len(levels):
            corner[order[k]] += 1
    return total


def multilinear(
    table: NDArray[np.int8], levels: list[float], step: int = 16
) -> NDArray[np.float64]:
    """Interpolate a table between all corners of the cell: equal where the table is linear."""
    size = 256 // step + 1
    total = np.zeros(table.shape[1])
    for corner in product((0, 1), repeat=len(levels)):
        weight, row = 1.0, 0
        for level, side in zip(levels, corner, strict=True):
            part = level / step - level // step
            weight *= part if side else 1 - part
            row = row * size + int(level // step) + side
        total += weight * table[min(row, len(table) - 1)]
    return total


def sr_lut(
    table: NDArray[np.int8], plane: NDArray[np.uint8], scale: int, *, tie_bug: bool
) -> NDArray[np.uint8]:
    """Enlarge a plane by SR-LUT, with or without the wrong corners of the authors' code.

    For the fractions c > d > a > b (of the taps 00, 01, 10, 11 in the order a, b, c, d) their code
    reads P1010 and P1011 with the weights a - d and d - b.
    """
    total = np.zeros((plane.shape[0] * scale, plane.shape[1] * scale), np.int64)
    for turns in range(4):
        turned = np.pad(np.rot90(plane, turns), ((0, 1), (0, 1)), "reflect").astype(np.int64)
        taps = np.stack([turned[:-1, :-1], turned[:-1, 1:], turned[1:, :-1], turned[1:, 1:]])
        height, width = taps.shape[1:]
        blocks = _look_up(table.astype(np.int64), taps.reshape(4, -1), tie_bug=tie_bug)
        grid = blocks.reshape(height, width, scale, scale).transpose(0, 2, 1, 3)
        total += np.rot90(grid.reshape(height * scale, width * scale), -turns)
    return np.rint((total / 16).clip(0, 255)).astype(np.uint8)


def _look_up(
    table: NDArray[np.int64], taps: NDArray[np.int64], *, tie_bug: bool
) -> NDArray[np.int64]:
    strides = np.array([17**3, 17**2, 17, 1])
    parts = taps % 16
    near = strides @ (taps // 16)
    order = np.argsort(-parts, axis=0, kind="stable")
    ranked = np.take_along_axis(parts, order, 0)
    out = (16 - ranked[0])[:, None] * table[near]
    entry = near
    for k in range(4):
        entry = entry + strides[order[k]]
        following = ranked[k + 1] if k < 3 else 0
        out += (ranked[k] - following)[:, None] * table[entry]
    if tie_bug:
        a, b, c, d = parts
        wrong = (c > d) & (d > a) & (a > b)
        weights = (16 - c, c - a, a - d, d - b, b)
        corners = (0, 17, 17**3 + 17, 17**3 + 17 + 1, 17**3 + 17**2 + 17 + 1)
        bad = sum(w[:, None] * table[near + at] for w, at in zip(weights, corners, strict=True))
        out[wrong] = bad[wrong]
    return out
