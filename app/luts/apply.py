"""The pixel kernel: a photo through a LUT, in place, on the caller's thread.

Numba compiles each of the loops on its first use and keeps it on disk (see NUMBA_CACHE_DIR).
They release the GIL: a caller may share a photo's rows among threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from app.luts import kernels
from app.luts.lut3d import Interpolation, Lut3D

Pixels: TypeAlias = NDArray[np.uint8 | np.uint16]
Loop: TypeAlias = Callable[[NDArray[Any]], None]

# A packed table: 13 bits a value, 4096 steps a unit, with head-room for overshoot.
_VALUES, _STEPS, _LOWEST = 8192, 4096, -0.5
_HIGHEST = _LOWEST + (_VALUES - 1) / _STEPS
# Rounding a fraction to 8 bits moves a result by step / 512 an axis: together 0.75 levels here.
_STEEPEST = 0.5


@dataclass(frozen=True, eq=False)
class PreparedLut:
    """A LUT made ready once, for any number of photos or strips of one, on any threads.

    Attributes:
        dtype: of the pixels that it takes.
        loop: changes (N, 3) pixels of that dtype in place.
    """

    dtype: np.dtype[Any]
    loop: Loop

    def apply(self, pixels: Pixels) -> None:
        """Replace each pixel by its answer, clamped and rounded.

        Args:
            pixels: (H, W, 3) RGB of `dtype`, C-contiguous, as are rows of such a photo.

        Raises:
            ValueError: the pixels are something else.
        """
        if pixels.dtype != self.dtype or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ValueError(f"not (H, W, 3) {self.dtype}: {pixels.shape} {pixels.dtype}")
        if not (pixels.flags.c_contiguous and pixels.flags.writeable):
            raise ValueError("pixels to change in place are C-contiguous and writable")
        self.loop(pixels.reshape(-1, 3))


def prepare(lut: Lut3D, interpolation: Interpolation, dtype: DTypeLike) -> PreparedLut:
    """Precompute what `PreparedLut.apply` needs; 1 ms for uint8, 2 ms for uint16.

    8-bit photos take a packed table, to within a level of double precision. Deep photos, and
    tables that reach too far or rise too steeply for that, take float32 arithmetic.

    Args:
        lut: what to apply.
        interpolation: "tetrahedral" or "trilinear".
        dtype: of the pixels: uint8 or uint16.
    """
    dtype = np.dtype(dtype)
    if dtype == np.uint8 and _packable(lut.table):
        return PreparedLut(dtype, _packed_loop(lut, interpolation))
    return PreparedLut(dtype, _float_loop(lut, interpolation, int(np.iinfo(dtype).max)))


def apply(pixels: Pixels, lut: Lut3D, interpolation: Interpolation = "tetrahedral") -> None:
    """Put a photo through a LUT in place; see `prepare` and `PreparedLut.apply`."""
    prepare(lut, interpolation, pixels.dtype).apply(pixels)


def _packable(table: NDArray[np.float32]) -> bool:
    steepest = max(np.abs(np.diff(table, axis=axis)).max() for axis in range(3))
    return bool(steepest <= _STEEPEST and table.min() >= _LOWEST and table.max() <= _HIGHEST)


def _packed_loop(lut: Lut3D, interpolation: Interpolation) -> Loop:
    tetrahedral = interpolation == "tetrahedral"
    loop = kernels.tetrahedral_packed if tetrahedral else kernels.trilinear_packed
    steps = np.rint((lut.table.reshape(-1, 3) - _LOWEST) * _STEPS).astype(np.uint64)
    packed = steps[:, 0] | steps[:, 1] << kernels.GREEN | steps[:, 2] << kernels.BLUE
    # A sum is cut to the step below it: on the average it lies in the middle.
    values = (np.arange(_VALUES) + 0.5) / _STEPS + _LOWEST
    levels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return partial(loop, _keys(lut, 255, kernels.WEIGHT_ONE), packed, levels, np.uint64(lut.size))


def _float_loop(lut: Lut3D, interpolation: Interpolation, top: int) -> Loop:
    tetrahedral = interpolation == "tetrahedral"
    loop = kernels.tetrahedral_float if tetrahedral else kernels.trilinear_float
    table = np.array(lut.table, order="C").reshape(-1, 3)
    keys = _keys(lut, top, kernels.FLOAT_ONE)
    return partial(loop, keys, table, np.float32(top), np.uint64(lut.size))


def _keys(lut: Lut3D, top: int, one: np.uint64) -> NDArray[np.uint64]:
    """The keys (3, top + 1) of all levels of a pixel's channels; `one` is the fraction 1."""
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
