"""Tables in training: their entries and slopes, how they begin, and how their grids are refined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.restoration.kernels import HALF
from app.restoration.layers import Layer, diagonal_rows
from app.training.restoration import kernels

Floats: TypeAlias = NDArray[np.float32]

_DAMPING = 2.0  # about the slope of an entry that 50 pixels of a batch read


class Table:
    """A table in training: several sets, of which each kind of damage has a weighted sum.

    Attributes:
        entries: float32 (S, rows, V).
        slopes: of the loss, of the same shape.
    """

    def __init__(self, entries: Floats) -> None:
        self.entries = entries
        self.slopes, self._first, self._second = (np.zeros_like(entries) for _ in range(3))

    def blend(self, weights: Sequence[float]) -> Floats:
        """Return the entries (rows, V) of a kind of damage, rounded as they are used."""
        rounded = np.rint(self.entries)
        if len(rounded) == 1:
            sums = rounded[0] * np.float32(weights[0])
        else:
            sums = np.tensordot(np.array(weights, np.float32), rounded, 1)
        blended: Floats = np.rint(sums, out=sums).clip(-HALF, HALF, out=sums)
        return blended

    def add_slopes(self, weights: Sequence[float], slopes: Floats) -> None:
        """Add the slopes (rows, V) of entries that were blended with these weights."""
        for weight, sums in zip(weights, self.slopes, strict=True):
            if weight:
                sums += np.float32(weight) * slopes

    def update(self, rate: float) -> None:
        """Step the entries by Adam, and forget their slopes."""
        kernels.adam(
            self.entries.reshape(-1),
            self.slopes.reshape(-1),
            self._first.reshape(-1),
            self._second.reshape(-1),
            np.float32(rate),
            np.float32(_DAMPING),
            HALF,
        )

    def state(self) -> dict[str, Floats]:
        """Return the state for a checkpoint."""
        return {"entries": self.entries, "first": self._first, "second": self._second}

    @classmethod
    def from_state(cls, state: Mapping[str, Floats]) -> Table:
        """Restore a state that `state` returned."""
        table = cls(state["entries"])
        table._first, table._second = state["first"], state["second"]
        return table


def start_grid(layer: Layer, step: int) -> Floats:
    """Return entries (rows, V) with which a layer returns the taps that it follows."""
    rows = layer.levels(step) ** layer.taps
    if layer.residual:
        return np.zeros((rows, layer.values), np.float32)
    lookups = sum(len(lookup.rotations) for lookup in layer.lookups)
    levels = tap_levels(layer, step)[:, list(layer.follows)]  # (rows, maps)
    entries = (levels - layer.bias) * np.float32(layer.denominator / lookups)
    return np.repeat(entries, layer.scale**2, axis=1).clip(-HALF, HALF)


def tap_levels(layer: Layer, step: int) -> Floats:
    """Return the level of each tap at each entry: (rows, taps)."""
    middle = 0 if layer.interpolated else (step - 1) / 2  # of the levels that an entry stands for
    levels = np.arange(layer.levels(step), dtype=np.float32) * step + np.float32(middle)
    grid = np.meshgrid(*[levels] * layer.taps, indexing="ij")
    return np.stack(grid, axis=-1).reshape(-1, layer.taps)


def flat_rows(layer: Layer, step: int, *, compressed: bool) -> NDArray[np.intp]:
    """Return which entries of a grid have equal taps; a compressed one holds the diagonal alone."""
    levels = layer.levels(step)
    rows: NDArray[np.intp] = np.arange(levels) * sum(levels**tap for tap in range(layer.taps))
    return np.cumsum(diagonal_rows(step, layer.diagonal))[rows] - 1 if compressed else rows


def refine_grid(layer: Layer, step: int, entries: Floats) -> Floats:
    """Halve the distance of the levels of a table (rows, V)."""
    grid = entries.reshape(*[layer.levels(step)] * layer.taps, -1)
    for axis in range(layer.taps):
        grid = _insert_midpoints(grid, axis) if layer.interpolated else grid.repeat(2, axis)
    return np.ascontiguousarray(grid.reshape(-1, entries.shape[-1]))


def _insert_midpoints(grid: Floats, axis: int) -> Floats:
    """Double the cells of a grid along an axis."""
    moved = np.moveaxis(grid, axis, 0)
    finer = np.empty((2 * len(moved) - 1, *moved.shape[1:]), grid.dtype)
    finer[::2] = moved
    finer[1::2] = (moved[1:] + moved[:-1]) / 2
    return np.moveaxis(finer, 0, axis)
