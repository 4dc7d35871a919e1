"""The compiled loops that train spatial LUTs: forward and backward through a stage.

They compute what `app.restoration.kernels.simplex` does, on patches whose margin replaces the
padding, with float tables.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.jit import jit
from app.restoration.kernels import CORNERS, find_corners

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Indices = NDArray[np.int64]


@jit
def forward(
    maps: NDArray[np.uint8],
    reach: int,
    taps: Indices,
    strides: Ints,
    shift: np.int32,
    luts: Indices,
    turns: Indices,
    order: Indices,
    tables: Floats,
    out: Floats,
) -> None:
    """Sum the weighted entries of all groups.

    Args:
        maps: (N, H + 2 * reach, W + 2 * reach).
        reach: the largest offset of a tap.
        taps: (G, 4, 2), the offsets (dy, dx) of each group.
        strides: (4,), as of `app.restoration.kernels.simplex`.
        shift: likewise.
        luts: likewise.
        turns: likewise.
        order: likewise.
        tables: (K, entries, V).
        out: (N, H, W, V), set; the weights of each group add up to 2 ** shift.
    """
    count, height, width, values = out.shape
    entries = np.empty((CORNERS, width), np.int32)
    weights = np.empty((CORNERS, width), np.int32)
    sums = np.empty((len(order), width, values), np.float32)
    row_length = maps.shape[2]
    for n in range(count):
        flat = maps[n].reshape(-1)
        for y in range(height):
            start = (y + reach) * row_length + reach
            sums[:] = 0
            for g in range(taps.shape[0]):
                offsets = taps[g, :, 0] * row_length + taps[g, :, 1]
                find_corners(flat, start, offsets, strides, shift, entries, weights)
                table, turned = tables[luts[g]], sums[turns[g]]
                for x in range(width):
                    total = turned[x]
                    for j in range(CORNERS):
                        weight, entry = np.float32(weights[j, x]), table[entries[j, x]]
                        for k in range(values):
                            total[k] += weight * entry[k]
            for k in range(values):
                for x in range(width):
                    value = np.float32(0)
                    for turn in range(len(order)):
                        value += sums[turn, x, order[turn, k]]
                    out[n, y, x, k] = value


@jit
def backward(
    maps: NDArray[np.uint8],
    reach: int,
    taps: Indices,
    strides: Ints,
    shift: np.int32,
    luts: Indices,
    turns: Indices,
    order: Indices,
    tables: Floats,
    slopes: Floats,
    table_slopes: Floats,
    map_slopes: Floats,
) -> None:
    """Propagate the slopes of the loss from the output of `forward` to its tables and maps.

    Args:
        maps: as of `forward`, like the arguments up to `tables`.
        reach: likewise.
        taps: likewise.
        strides: likewise.
        shift: likewise.
        luts: likewise.
        turns: likewise.
        order: likewise.
        tables: likewise.
        slopes: (N, H, W, V), of the loss with respect to `out`.
        table_slopes: (K, entries, V), added to.
        map_slopes: of the shape of `maps`, added to; (1, 0, 0) where it is not wanted.
    """
    count, height, width, values = slopes.shape
    entries = np.empty((CORNERS, width), np.int32)
    weights = np.empty((CORNERS, width), np.int32)
    turned = np.empty((len(order), width, values), np.float32)
    row_length = maps.shape[2]
    passes_on = map_slopes.size > 0
    for n in range(count):
        flat = maps[n].reshape(-1)
        inputs = map_slopes[n if passes_on else 0].reshape(-1)
        for y in range(height):
            start = (y + reach) * row_length + reach
            _turn(slopes[n, y], order, turned)
            for g in range(taps.shape[0]):
                offsets = taps[g, :, 0] * row_length + taps[g, :, 1]
                find_corners(flat, start, offsets, strides, shift, entries, weights)
                table, gradient = tables[luts[g]], table_slopes[luts[g]]
                for x in range(width):
                    slope = turned[turns[g], x]
                    previous = np.float32(0)
                    for j in range(CORNERS):
                        at = entries[j, x]
                        weight = np.float32(weights[j, x])
                        row = gradient[at]
                        for k in range(values):
                            row[k] += weight * slope[k]
                        if not passes_on:
                            continue
                        value, entry = np.float32(0), table[at]
                        for k in range(values):
                            value += entry[k] * slope[k]
                        if j > 0:
                            axis = _find_axis(strides, at - entries[j - 1, x])
                            inputs[start + x + offsets[axis]] += value - previous
                        previous = value


@jit
def _turn(slopes: Floats, order: Indices, turned: Floats) -> None:
    """Order the slopes (W, V) of outputs as the values of entries, in each rotation."""
    for turn in range(len(order)):
        for x in range(slopes.shape[0]):
            for k in range(slopes.shape[1]):
                turned[turn, x, order[turn, k]] = slopes[x, k]


@jit
def _find_axis(strides: Ints, stride: np.int32) -> int:
    """Return the axis of a stride; strides fall."""
    return int(stride <= strides[1]) + int(stride <= strides[2]) + int(stride <= strides[3])


@jit
def adam(
    values: Floats,
    slopes: Floats,
    first: Floats,
    second: Floats,
    rate: np.float32,
    damping: np.float32,
    limit: float,
) -> None:
    """Step entries of flattened tables by Adam; those whose slope is 0 were not read and stay.

    Args:
        values: the entries, changed and clamped to -limit..limit.
        slopes: of the loss, set to 0.
        first: the mean of the slopes, changed.
        second: the mean of their squares, changed.
        rate: the longest step.
        damping: slopes below it, of entries that few pixels read, make shorter steps.
        limit: of the values.
    """
    low, high = np.float32(-limit), np.float32(limit)
    for i in range(values.size):
        slope = slopes[i]
        if slope != 0:
            slopes[i] = 0
            first[i] += np.float32(0.1) * (slope - first[i])
            second[i] += np.float32(0.01) * (slope * slope - second[i])
            step = rate * first[i] / (np.sqrt(second[i]) + damping)
            values[i] = min(max(values[i] - step, low), high)
