"""The immutable 3D LUT, and operations on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

Interpolation = Literal["tetrahedral", "trilinear"]

MAX_SIZE = 256  # the largest table of the .cube specification
MAX_RESAMPLED_SIZE = 129  # the largest that OpenColorIO reads; 26 MB
FINE_SIZE = 65

# A quarter of an 8-bit level: too little to move a rounded pixel at strength 0.
_IDENTITY_TOLERANCE = 0.25 / 255


@dataclass(frozen=True, eq=False)
class Lut3D:
    """A colour look-up table over the unit RGB cube.

    Attributes:
        table: float32 (B, G, R, 3): red fastest, as in a .cube file; output RGB in 0..1, with
            the overshoot of learned tables. The interpolated result is clamped, not the table:
            clamping the table would move pixels next to the overshoot.
        shaper: float32 (3, M), or None for the identity. One curve per channel before the table:
            M >= 2 values at inputs evenly spaced over 0..1, linear in between; the value, clamped
            to 0..1, is the coordinate in the table.

    Raises:
        ValueError: the arrays have another shape or dtype, or are not finite.
    """

    table: NDArray[np.float32]
    shaper: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        size = self.table.shape[0]
        if self.table.shape != (size, size, size, 3) or not 2 <= size <= MAX_SIZE:
            raise ValueError(
                f"a table must be (N, N, N, 3), N in 2..{MAX_SIZE}: {self.table.shape}"
            )
        _require_finite_float32(self.table, "table")
        if self.shaper is None:
            return
        if self.shaper.ndim != 2 or self.shaper.shape[0] != 3 or self.shaper.shape[1] < 2:
            raise ValueError(f"a shaper must be (3, M), M >= 2: {self.shaper.shape}")
        _require_finite_float32(self.shaper, "shaper")

    @classmethod
    def identity(cls, size: int) -> Self:
        """Return the identity with `size` lattice points on each axis."""
        return cls(_make_identity(np.tile(np.linspace(0, 1, size), (3, 1))))

    @property
    def size(self) -> int:
        """The number of lattice points on each axis of the table."""
        return len(self.table)

    @property
    def nbytes(self) -> int:
        """The bytes of memory of the table."""
        return self.table.nbytes

    def coordinates(self, inputs: NDArray[Any], channel: int) -> NDArray[np.float64]:
        """Map inputs of one channel to positions on its axis of the table.

        Args:
            inputs: values of the channel, any shape, clamped to 0..1.
            channel: 0, 1, 2 for red, green, blue.

        Returns:
            Positions in 0..size - 1, of the shape of `inputs`.
        """
        if self.shaper is not None:
            curve = self.shaper[channel]
            inputs = np.interp(inputs, np.linspace(0, 1, curve.size), curve)
        position: NDArray[np.float64] = np.clip(inputs, 0.0, 1.0) * (self.size - 1)
        return position

    def evaluate(
        self, colours: NDArray[Any], interpolation: Interpolation = "trilinear"
    ) -> NDArray[np.float64]:
        """Interpolate colours in double precision: the reference for faster implementations.

        Args:
            colours: (..., 3) RGB; the LUT is defined over 0..1 and constant outside.
            interpolation: "trilinear", or "tetrahedral" (Kasson, Nin, Plouffe and Hafner,
                "Performing color space conversions with three-dimensional linear
                interpolation", 1995).

        Returns:
            (..., 3) RGB, not clamped.
        """
        position = np.stack([self.coordinates(colours[..., c], c) for c in range(3)], axis=-1)
        cell = np.minimum(position.astype(np.intp), self.size - 2)
        interpolate = _trilinear if interpolation == "trilinear" else _tetrahedral
        return interpolate(self.table, cell, position - cell)

    def at_strength(self, strength: float) -> Lut3D:
        """Blend with the identity: (1 - strength) * input + strength * look.

        The blend is exact without a shaper. A shaper is kept if the table can hold the identity
        behind it within a quarter of an 8-bit level, as with AdaInt, whose curves are straight
        between lattice points. With any other shaper (SepLUT) the LUT is first resampled to
        `FINE_SIZE` points on each axis, which moves a few colours by a few levels and the
        others by less than one.

        Args:
            strength: 0 for the identity, 1 for the same object; other values, also outside 0..1,
                interpolate or extrapolate.
        """
        if strength == 1:
            return self
        lattice = self._identity_lattice()
        if lattice is None:
            return self.resample(FINE_SIZE).at_strength(strength)
        identity = _make_identity(lattice)
        table = identity + np.float32(strength) * (self.table - identity)
        return replace(self, table=table)

    def clamp(self) -> Lut3D:
        """Clamp the table to 0..1, which changes colours near the overshoot."""
        return replace(self, table=self.table.clip(0, 1))

    def resample(self, size: int) -> Lut3D:
        """Return a table without a shaper, with `size` evenly spaced points on each axis.

        The new points are exact (trilinear). All colours are exact if there is no shaper and
        `size` - 1 is a multiple of the size of this LUT minus 1.

        Raises:
            ValueError: `size` is not in 2..129.
        """
        if not 2 <= size <= MAX_RESAMPLED_SIZE:
            raise ValueError(f"a resampled LUT must have 2..{MAX_RESAMPLED_SIZE} points: {size}")
        inputs = np.linspace(0, 1, size)
        table = self.table
        # On a product grid, trilinear interpolation is three linear interpolations in turn.
        for axis, channel in enumerate((2, 1, 0)):
            table = _interpolate_along(table, axis, self.coordinates(inputs, channel))
        return Lut3D(table)

    def _identity_lattice(self) -> NDArray[np.float64] | None:
        """Return the inputs (3, size) of the lattice points, or None if they are no identity."""
        positions = np.linspace(0, 1, self.size)
        if self.shaper is None:
            return np.tile(positions, (3, 1))
        inputs = np.linspace(0, 1, self.shaper.shape[1])
        lattice = np.stack([np.interp(positions, curve, inputs) for curve in self.shaper])
        # The error is linear between these inputs and the lattice, where it is zero, so this is
        # the largest error; a curve without an inverse fails.
        clamped = np.clip(self.shaper, 0, 1)
        for values, vertices in zip(clamped, lattice, strict=True):
            error = np.abs(np.interp(values, positions, vertices) - inputs)
            if error.max() > _IDENTITY_TOLERANCE:
                return None
        return lattice


def _require_finite_float32(array: NDArray[Any], name: str) -> None:
    if array.dtype != np.float32:
        raise ValueError(f"a {name} must be float32: {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"a {name} must be finite")


def _make_identity(lattice: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the table (B, G, R, 3) of the inputs (3, size) of the lattice points."""
    red, green, blue = lattice.astype(np.float32)
    b, g, r = np.meshgrid(blue, green, red, indexing="ij")
    return np.stack((r, g, b), axis=-1)


def _interpolate_along(
    table: NDArray[np.float32], axis: int, position: NDArray[np.float64]
) -> NDArray[np.float32]:
    cell = np.minimum(position.astype(np.intp), table.shape[axis] - 2)
    fraction = np.expand_dims(position - cell, tuple(range(1, 4 - axis))).astype(np.float32)
    near = table.take(cell, axis)
    result: NDArray[np.float32] = near + fraction * (table.take(cell + 1, axis) - near)
    return result


def _trilinear(
    table: NDArray[np.float32], cell: NDArray[np.intp], fraction: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum the eight corners of the cell, weighted."""
    result = np.zeros(cell.shape)
    for corner in product((0, 1), repeat=3):
        weight = np.where(corner, fraction, 1 - fraction).prod(axis=-1, keepdims=True)
        result += weight * _look_up(table, cell + corner)
    return result


def _tetrahedral(
    table: NDArray[np.float32], cell: NDArray[np.intp], fraction: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Add the differences from the near to the far corner, in order of falling fraction."""
    order = np.argsort(-fraction, axis=-1)
    corner, here = cell, _look_up(table, cell)
    result = here.astype(np.float64)
    for step in range(3):
        axis = order[..., step : step + 1]
        corner = corner + (np.arange(3) == axis)
        there = _look_up(table, corner)
        result += np.take_along_axis(fraction, axis, axis=-1) * (there - here)
        here = there
    return result


def _look_up(table: NDArray[np.float32], corner: NDArray[np.intp]) -> NDArray[np.float32]:
    red, green, blue = np.moveaxis(corner, -1, 0)
    entries: NDArray[np.float32] = table[blue, green, red]
    return entries
