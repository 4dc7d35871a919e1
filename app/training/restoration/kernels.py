"""The compiled loops that train spatial LUTs: forward and backward through a layer.

They compute what `app.restoration.kernels.look_up` does, on patches whose margin replaces the
padding, with float tables.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.jit import jit
from app.restoration.kernels import CORNERS, Geometry, find

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Indices = NDArray[np.int64]


@jit
def forward(
    maps: NDArray[np.uint8],
    row_length: int,
    origin: int,
    geometry: Geometry,
    tables: Floats,
    out: Floats,
) -> None:
    """Sum the weighted entries of all lookups.

    Args:
        maps: (N, C * H * W), the maps of each patch, flattened.
        row_length: W.
        origin: the position of the first pixel that has an output.
        geometry: of the lookups.
        tables: (K, entries, V).
        out: (N, h, w, V), set; the weights of each lookup add up to `weight_of(geometry)`.
    """
    count, height, width, values = out.shape
    corners = np.empty((4, CORNERS, width), np.int32)
    sums = np.empty((len(geometry.order), width, values), np.float32)
    for n in range(count):
        for y in range(height):
            start = origin + y * row_length
            sums[:] = 0
            for g in range(len(geometry.tables)):
                find(maps[n], start, geometry, g, corners)
                table, turned = tables[geometry.tables[g]], sums[geometry.turns[g]]
                _accumulate(table, corners, geometry.interpolated, turned)
            for k in range(values):
                for x in range(width):
                    value = np.float32(0)
                    for turn in range(len(geometry.order)):
                        value += sums[turn, x, geometry.order[turn, k]]
                    out[n, y, x, k] = value


@jit
def _accumulate(table: Floats, corners: Ints, interpolated: bool, sums: Floats) -> None:
    """Add the weighted entries of a row of pixels to their sums (W, V)."""
    values = sums.shape[1]
    for x in range(sums.shape[0]):
        total = sums[x]
        if not interpolated:
            entry = table[corners[0, 0, x]]
            for k in range(values):
                total[k] += entry[k]
            continue
        for j in range(CORNERS):
            weight, entry = np.float32(corners[1, j, x]), table[corners[0, j, x]]
            for k in range(values):
                total[k] += weight * entry[k]


@jit
def backward(
    maps: NDArray[np.uint8],
    row_length: int,
    origin: int,
    geometry: Geometry,
    places: Ints,
    tables: Floats,
    slopes: Floats,
    table_slopes: Floats,
    map_slopes: Floats,
) -> None:
    """Propagate the slopes of the loss from the output of `forward` to its tables and maps.

    Args:
        maps: as of `forward`.
        row_length: as of `forward`.
        origin: likewise.
        geometry: likewise.
        places: of compressed tables, the entry of the whole grid that each row holds.
        tables: as of `forward`.
        slopes: (N, h, w, V), of the loss with respect to `out`.
        table_slopes: (K, entries, V), added to.
        map_slopes: of the shape of `maps`, added to; (N, 0) where it is not wanted. Entries that
            are not interpolated pass nothing on.
    """
    count, height, width, values = slopes.shape
    corners = np.empty((4, CORNERS, width), np.int32)
    turned = np.empty((len(geometry.order), width, values), np.float32)
    passes_on = geometry.interpolated and map_slopes.shape[1] > 0
    for n in range(count):
        for y in range(height):
            start = origin + y * row_length
            _turn(slopes[n, y], geometry.order, turned)
            for g in range(len(geometry.tables)):
                find(maps[n], start, geometry, g, corners)
                lut, slope = geometry.tables[g], turned[geometry.turns[g]]
                _step_entries(table_slopes[lut], corners, geometry.interpolated, slope)
                if passes_on:
                    inputs = map_slopes[n]
                    table = tables[lut]
                    _step_pixels(table, corners, geometry, places, g, slope, inputs, start)


@jit
def _step_entries(table_slopes: Floats, corners: Ints, interpolated: bool, slope: Floats) -> None:
    """Add the slopes (W, V) of a row of pixels to those of the entries that it read."""
    values = slope.shape[1]
    for x in range(slope.shape[0]):
        if not interpolated:
            row = table_slopes[corners[0, 0, x]]
            for k in range(values):
                row[k] += slope[x, k]
            continue
        for j in range(CORNERS):
            weight, row = np.float32(corners[1, j, x]), table_slopes[corners[0, j, x]]
            for k in range(values):
                row[k] += weight * slope[x, k]


@jit
def _step_pixels(
    table: Floats,
    corners: Ints,
    geometry: Geometry,
    places: Ints,
    g: int,
    slope: Floats,
    map_slopes: Floats,
    start: int,
) -> None:
    """Add the slopes of a row of pixels to those of their taps, from corner to corner."""
    offsets = geometry.offsets[g]
    for x in range(slope.shape[0]):
        near = geometry.diagonal > 0 and corners[0, 0, x] < geometry.coarse_start
        far = geometry.diagonal > 0 and not near
        strides = geometry.coarse_strides if far else geometry.strides
        share = np.float32(2 if near else 1)  # of a level of a tap in a weight
        previous, place = np.float32(0), 0
        for j in range(CORNERS):
            at = corners[0, j, x]
            value, entry = np.float32(0), table[at]
            for k in range(slope.shape[1]):
                value += entry[k] * slope[x, k]
            following = places[at] if near else at
            if j > 0:
                axis = _find_axis(strides, following - place)
                map_slopes[start + x + offsets[axis]] += share * (value - previous)
            previous, place = value, following


@jit
def _turn(slopes: Floats, order: Indices, turned: Floats) -> None:
    """Order the slopes (W, V) of outputs as the values of entries, in each rotation."""
    for turn in range(len(order)):
        for x in range(slopes.shape[0]):
            for k in range(slopes.shape[1]):
                turned[turn, x, order[turn, k]] = slopes[x, k]


@jit
def _find_axis(strides: Ints, stride: int) -> int:
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
