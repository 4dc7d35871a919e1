"""A stage in training: float tables, their slopes, and Adam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.restoration.engine import (
    PATTERNS,
    ROTATIONS,
    Group,
    Stage,
    grid_levels,
    value_order,
)
from app.training.restoration import kernels
from app.training.restoration.patches import Bytes, Patches

Floats: TypeAlias = NDArray[np.float32]
Indices: TypeAlias = NDArray[np.int64]
Geometry: TypeAlias = tuple[int, Indices, NDArray[np.int32], np.int32, Indices, Indices, Indices]

_LIMIT = 127.0  # of int8 entries
_DAMPING = 2.0  # about the slope of an entry that 50 pixels of a batch read
_STEPS = {grid_levels(step) ** 4: step for step in (16, 32, 64)}


class TrainedStage:
    """A stage whose tables are a weighted sum of several sets, one for each kind of damage.

    Attributes:
        tables: float32 (S, K, entries, V): sets, patterns, entries of a table, values of an entry.
        step: the distance of the grid's levels.
        reach: the largest distance of a tap from its pixel.
    """

    def __init__(self, patterns: str, denominator: float, scale: int, step: int, sets: int) -> None:
        self.patterns, self.denominator, self.scale, self.step = patterns, denominator, scale, step
        taps = [[t.rotate(r)[:2] for t in PATTERNS[p]] for p in patterns for r in ROTATIONS]
        self.reach = max(abs(offset) for group in taps for tap in group for offset in tap)
        self._taps = np.array(taps, np.int64)
        self._luts = np.repeat(np.arange(len(patterns)), len(ROTATIONS))
        self._turns = np.tile(ROTATIONS, len(patterns))
        self._order = value_order(1, scale)
        shape = (sets, len(patterns), grid_levels(step) ** 4, scale**2)
        self._set_tables(np.zeros(shape, np.float32))

    def refine(self, step: int) -> None:
        """Halve the distance of the grid's levels until it is `step`."""
        while self.step > step:
            levels, (sets, patterns, _, values) = grid_levels(self.step), self.tables.shape
            grid = self.tables.reshape(sets * patterns, *[levels] * 4, values)
            for axis in range(1, 5):
                grid = _insert_midpoints(grid, axis)
            self.step //= 2
            self._set_tables(np.ascontiguousarray(grid.reshape(sets, patterns, -1, values)))

    def blend(self, weights: Sequence[float]) -> Floats:
        """Return the tables (K, entries, V) of a kind of damage, rounded as they are used."""
        sums = np.tensordot(np.array(weights, np.float32), np.rint(self.tables), 1)
        rounded: Floats = np.rint(sums.clip(-_LIMIT, _LIMIT))
        return rounded

    def forward(self, maps: Bytes, tables: Floats) -> Floats:
        """Compute the output (N, H - 2 * reach, W - 2 * reach, V), not clamped.

        Args:
            maps: (N, H, W).
            tables: as `blend` returns them.
        """
        count, height, width = maps.shape
        inner = (count, height - 2 * self.reach, width - 2 * self.reach)
        out = np.empty((*inner, tables.shape[2]), np.float32)
        kernels.forward(maps, *self._geometry, tables, out)
        out /= self.denominator * self.step
        out += inside(maps, self.reach)[..., None]
        return out

    def backward(
        self,
        maps: Bytes,
        tables: Floats,
        weights: Sequence[float],
        slopes: Floats,
        *,
        passes_on: bool,
    ) -> Floats | None:
        """Add to the slopes of the tables, and return those of the maps, if they are wanted.

        Rounding is ignored: the slope of a rounded value counts as that of the value.

        Args:
            maps: as of `forward`.
            tables: as of `forward`.
            weights: that the tables were blended with.
            slopes: of the loss with respect to the output.
            passes_on: whether the slopes of the maps are wanted.
        """
        scaled = (slopes / np.float32(self.denominator * self.step)).astype(np.float32)
        inputs = np.zeros(maps.shape if passes_on else (1, 0, 0), np.float32)
        found = np.zeros_like(tables)
        kernels.backward(maps, *self._geometry, tables, scaled, found, inputs)
        for weight, sums in zip(weights, self._slopes, strict=True):
            if weight:
                sums += np.float32(weight) * found
        if not passes_on:
            return None
        inner = inside(inputs, self.reach)
        inner += slopes.sum(-1)
        return inputs

    def update(self, rate: float) -> None:
        """Step the tables, and forget their slopes."""
        kernels.adam(
            self.tables.reshape(-1),
            self._slopes.reshape(-1),
            self._first.reshape(-1),
            self._second.reshape(-1),
            np.float32(rate),
            np.float32(_DAMPING),
            _LIMIT,
        )

    def state(self) -> dict[str, Floats]:
        """Return what a checkpoint holds."""
        return {"tables": self.tables, "first": self._first, "second": self._second}

    def set_state(self, state: dict[str, Floats]) -> None:
        """Continue from a checkpoint."""
        self._set_tables(state["tables"])
        self._first, self._second = state["first"], state["second"]
        self.step = _STEPS[self.tables.shape[2]]

    def to_stage(self, weights: Sequence[float]) -> Stage:
        """Return the stage for a kind of damage, with its tables rounded."""
        tables = self.blend(weights).astype(np.int8)
        groups = zip(self.patterns, tables, strict=True)
        return Stage(
            tuple(Group(PATTERNS[pattern], table) for pattern, table in groups),
            denominator=self.denominator,
            scale=self.scale,
            step=self.step,
            residual=True,
        )

    def fit_linear(self, patches: Sequence[Patches]) -> None:
        """Set the tables to the linear function that fits best, by least squares."""
        inputs, targets = (np.concatenate(it) for it in list(zip(*patches, strict=True))[:2])
        coefficients = _fit(inputs, targets, self._taps, self._order, self.scale)
        levels = np.arange(grid_levels(self.step), dtype=np.float32) * self.step
        grid = np.stack(np.meshgrid(*[levels] * 4, indexing="ij"), -1).reshape(-1, 4)
        differences = grid[:, 1:] - grid[:, :1]  # (entries, 3)
        tables = np.einsum("ea,pav->pev", differences, coefficients) * self.denominator
        fitted = tables.clip(-_LIMIT, _LIMIT).astype(np.float32)
        self._set_tables(np.repeat(fitted[None], len(self.tables), axis=0))

    @property
    def _geometry(self) -> Geometry:
        levels = grid_levels(self.step)
        strides = np.array([levels**3, levels**2, levels, 1], np.int32)
        shift = np.int32(self.step.bit_length() - 1)
        return self.reach, self._taps, strides, shift, self._luts, self._turns, self._order

    def _set_tables(self, tables: Floats) -> None:
        self.tables = tables
        self._slopes, self._first, self._second = (np.zeros_like(tables) for _ in range(3))


def inside(maps: NDArray[Any], reach: int) -> NDArray[Any]:
    """Return the maps (N, H, W) without their margin, as a view."""
    return maps[:, reach : maps.shape[1] - reach, reach : maps.shape[2] - reach]


def to_values(targets: Bytes, scale: int) -> Floats:
    """Gather the pixels (N, s * P, s * P) of each input pixel: (N, P, P, s * s)."""
    count, height, width = targets.shape
    blocks = targets.reshape(count, height // scale, scale, width // scale, scale)
    gathered = blocks.transpose(0, 1, 3, 2, 4).reshape(count, *blocks.shape[1:4:2], -1)
    return gathered.astype(np.float32)


def _insert_midpoints(grid: Floats, axis: int) -> Floats:
    """Double the cells of a grid along an axis."""
    moved = np.moveaxis(grid, axis, 0)
    finer = np.empty((2 * len(moved) - 1, *moved.shape[1:]), grid.dtype)
    finer[::2] = moved
    finer[1::2] = (moved[1:] + moved[:-1]) / 2
    return np.moveaxis(finer, 0, axis)


def _fit(
    inputs: Bytes, targets: Bytes, taps: NDArray[np.int64], order: NDArray[np.int64], scale: int
) -> NDArray[np.float64]:
    """Fit coefficients of the taps' differences from the pixel: (patterns, 3, V)."""
    patterns, values = len(taps) // len(ROTATIONS), scale**2
    wanted = to_values(targets, scale)
    height, width = wanted.shape[1:3]
    margin = (inputs.shape[1] - height) // 2

    def at(dy: int, dx: int) -> Floats:
        top, left = margin + dy, margin + dx
        return inputs[:, top : top + height, left : left + width].ravel().astype(np.float32)

    pixel = at(0, 0)
    features = np.stack([[at(*tap) - pixel for tap in group[1:]] for group in taps])
    size = patterns * 3 * values
    normal: NDArray[Any] = np.zeros((size, size))
    right: NDArray[Any] = np.zeros(size)
    for k in range(values):
        design = np.zeros((patterns, 3, values, pixel.size), np.float32)
        for g in range(len(taps)):
            design[g // len(ROTATIONS), :, order[g % len(ROTATIONS), k]] += features[g]
        rows = design.reshape(size, -1)
        normal += rows @ rows.T
        right += rows @ (wanted[..., k].ravel() - pixel)
    normal += np.eye(size) * 1e-4 * np.trace(normal) / size  # taps that coincide share the weight
    solution: NDArray[np.float64] = np.linalg.solve(normal, right)
    return solution.reshape(patterns, 3, values)
