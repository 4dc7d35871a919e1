"""Applying a LUT to the pixels of an image, in place, on the calling thread.

The loops are compiled on first use (see `app.jit`) and release the GIL, so threads can share the
rows of an image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from app.luts import kernels
from app.luts.lut3d import Interpolation, Lut3D

Pixels: TypeAlias = NDArray[np.uint8 | np.uint16]
Loop: TypeAlias = Callable[[NDArray[Any]], None]

# A packed table has 13 bits per value: 4096 steps per unit, with head-room for overshoot.
_VALUES, _STEPS, _LOWEST = 8192, 4096, -0.5
_HIGHEST = _LOWEST + (_VALUES - 1) / _STEPS
# Rounding a fraction to 8 bits moves a result by up to step / 512 per axis, 0.75 levels in all.
_STEEPEST = 0.5


@dataclass(frozen=True, eq=False)
class PreparedLut:
    """A LUT with its precomputed tables; threads can share one.

    Attributes:
        dtype: of the pixels.
        loop: changes (N, 3) pixels of that dtype in place.
    """

    dtype: np.dtype[Any]
    loop: Loop

    def apply(self, pixels: Pixels) -> None:
        """Replace each pixel by its interpolated colour, clamped and rounded.

        Args:
            pixels: (H, W, 3) RGB of `dtype`, C-contiguous and writable.

        Raises:
            ValueError: the pixels have another shape, dtype or layout.
        """
        if pixels.dtype != self.dtype or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ValueError(
                f"pixels must be (H, W, 3) {self.dtype}: {pixels.shape} {pixels.dtype}"
            )
        if not (pixels.flags.c_contiguous and pixels.flags.writeable):
            raise ValueError("pixels that change in place must be C-contiguous and writable")
        self.loop(pixels.reshape(-1, 3))


def prepare(lut: Lut3D, interpolation: Interpolation, dtype: DTypeLike) -> PreparedLut:
    """Precompute the tables for `PreparedLut.apply`, in 1 to 2 ms.

    8-bit pixels use a packed table, within one level of double precision. 16-bit pixels, and
    tables whose range or slope exceeds that of packing, use float32 arithmetic.

    Args:
        lut: the LUT to apply.
        interpolation: "tetrahedral" or "trilinear".
        dtype: of the pixels: uint8 or uint16.
    """
    dtype = np.dtype(dtype)
    if dtype == np.uint8 and _can_pack(lut.table):
        return PreparedLut(dtype, _make_packed_loop(lut, interpolation))
    return PreparedLut(dtype, _make_float_loop(lut, interpolation, int(np.iinfo(dtype).max)))


def apply(pixels: Pixels, lut: Lut3D, interpolation: Interpolation = "tetrahedral") -> None:
    """Apply a LUT to pixels in place; see `prepare` and `PreparedLut.apply`."""
    prepare(lut, interpolation, pixels.dtype).apply(pixels)


def load_loops() -> None:
    """Compile the loops for pixels of 8 bits, or load them from disk."""
    for interpolation in get_args(Interpolation):
        for size in (2, 33):  # the first is too steep to pack
            apply(np.zeros((1, 1, 3), np.uint8), Lut3D.identity(size), interpolation)


def _can_pack(table: NDArray[np.float32]) -> bool:
    steepest = max(np.abs(np.diff(table, axis=axis)).max() for axis in range(3))
    return bool(steepest <= _STEEPEST and table.min() >= _LOWEST and table.max() <= _HIGHEST)


def _make_packed_loop(lut: Lut3D, interpolation: Interpolation) -> Loop:
    tetrahedral = interpolation == "tetrahedral"
    loop = kernels.tetrahedral_packed if tetrahedral else kernels.trilinear_packed
    packed = kernels.pack(lut.table.reshape(-1, 3), np.float32(_LOWEST), np.float32(_STEPS))
    # Sums are truncated to a step, so on average they lie in the middle of it.
    values = (np.arange(_VALUES) + 0.5) / _STEPS + _LOWEST
    levels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return partial(
        loop, _make_keys(lut, 255, kernels.WEIGHT_ONE), packed, levels, np.uint64(lut.size)
    )


def _make_float_loop(lut: Lut3D, interpolation: Interpolation, top: int) -> Loop:
    tetrahedral = interpolation == "tetrahedral"
    loop = kernels.tetrahedral_float if tetrahedral else kernels.trilinear_float
    table = np.array(lut.table, order="C").reshape(-1, 3)
    keys = _make_keys(lut, top, kernels.FLOAT_ONE)
    return partial(loop, keys, table, np.float32(top), np.uint64(lut.size))


def _make_keys(lut: Lut3D, top: int, one: np.uint64) -> NDArray[np.uint64]:
    """Compute the keys (3, top + 1) of all levels of each channel; `one` encodes the fraction 1."""
    inputs = np.linspace(0, 1, top + 1)
    keys = np.empty((3, top + 1), np.uint64)
    for channel in range(3):
        distance = np.uint64(lut.size**channel)
        position = lut.coordinates(inputs, channel)
        cell = np.minimum(position, lut.size - 2).astype(np.uint64)
        fraction = np.rint((position - cell) * float(one)).astype(np.uint64)
        offset = cell * distance
        keys[channel] = fraction << kernels.FRACTION | offset << kernels.OFFSET | distance
    return keys
