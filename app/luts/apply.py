"""Applying a LUT to the pixels of an image, in place, on the calling thread.

The loops are compiled on first use (see `app.jit`) and release the GIL, so threads can share the
rows of an image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeAlias, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from app.luts import kernels, local_kernels
from app.luts.local_lut import LUMA, LUMA_ONE, MAX_TABLES, AnyLut, LocalLut, Places
from app.luts.lut3d import Interpolation, Lut3D

Pixels: TypeAlias = NDArray[np.uint8 | np.uint16]
Applier: TypeAlias = Callable[[Pixels, Places], None]
Loop: TypeAlias = Callable[[NDArray[Any]], None]
LocalLoop: TypeAlias = Callable[
    [NDArray[np.uint64], NDArray[np.float32], NDArray[np.float64], NDArray[Any]], None
]

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

    def apply(self, pixels: Pixels, places: Places | None = None) -> None:  # noqa: ARG002
        """Replace each pixel by its interpolated colour, clamped and rounded.

        Args:
            pixels: (H, W, 3) RGB of `dtype`, C-contiguous and writable.
            places: of the pixels; a LUT that is the same everywhere ignores them.

        Raises:
            ValueError: the pixels have another shape, dtype or layout.
        """
        _check(pixels, self.dtype)
        self.loop(pixels.reshape(-1, 3))


@dataclass(frozen=True, eq=False)
class PreparedLocalLut:
    """A local LUT with its precomputed tables; threads can share one.

    Attributes:
        dtype: of the pixels.
        loop: changes (H, W, 3) pixels of that dtype in place, given their places in columns and
            rows of the map; see `local_kernels.mix_two_packed`.
        shape: (L, H', W') of the map.
    """

    dtype: np.dtype[Any]
    loop: LocalLoop
    shape: tuple[int, int, int]

    def apply(self, pixels: Pixels, places: Places | None = None) -> None:
        """Replace each pixel as `PreparedLut.apply` does.

        Without places, the pixels are those of the whole image.
        """
        _check(pixels, self.dtype)
        places = places or Places.of_image(*pixels.shape[:2])
        levels, height, width = self.shape
        along = np.clip(places.x * width - 0.5, 0, width - 1)
        columns = along.astype(np.uint64)
        rows = np.clip(places.y * height - 0.5, 0, height - 1)
        if pixels.size:
            fractions = (along - columns).astype(np.float32)
            self.loop(columns * np.uint64(levels), fractions, rows, pixels)


Prepared: TypeAlias = PreparedLut | PreparedLocalLut


def prepare(lut: AnyLut, interpolation: Interpolation, dtype: DTypeLike) -> Prepared:
    """Precompute the tables for `PreparedLut.apply`, in 1 to 2 ms for each.

    8-bit pixels use a packed table, within one level of double precision. 16-bit pixels, and
    tables whose range or slope exceeds that of packing, use float32 arithmetic.

    Args:
        lut: the LUT to apply.
        interpolation: "tetrahedral" or "trilinear"; local LUTs are always tetrahedral.
        dtype: of the pixels: uint8 or uint16.
    """
    dtype = np.dtype(dtype)
    if isinstance(lut, LocalLut):
        return PreparedLocalLut(dtype, _make_local_loop(lut, dtype), lut.map.shape[1:])
    if dtype == np.uint8 and _can_pack(lut.table):
        return PreparedLut(dtype, _make_packed_loop(lut, interpolation))
    return PreparedLut(dtype, _make_float_loop(lut, interpolation, int(np.iinfo(dtype).max)))


def local_memory(tables: int, size: int) -> int:
    """Return the most bytes that a local LUT takes with its precomputed tables."""
    return 4 * 3 * (tables + MAX_TABLES) * size**3


def apply(pixels: Pixels, lut: AnyLut, interpolation: Interpolation = "tetrahedral") -> None:
    """Apply a LUT to the pixels of an image in place; see `prepare` and `PreparedLut.apply`."""
    prepare(lut, interpolation, pixels.dtype).apply(pixels)


def _check(pixels: Pixels, dtype: np.dtype[Any]) -> None:
    if pixels.dtype != dtype or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"pixels must be (H, W, 3) {dtype}: {pixels.shape} {pixels.dtype}")
    if not (pixels.flags.c_contiguous and pixels.flags.writeable):
        raise ValueError("pixels that change in place must be C-contiguous and writable")


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
    keys = _make_keys(lut, 255, kernels.WEIGHT_ONE)
    return partial(loop, keys, _pack(lut), _packed_levels(), np.uint64(lut.size))


def _pack(lut: Lut3D) -> NDArray[np.uint64]:
    return kernels.pack(lut.table.reshape(-1, 3), np.float32(_LOWEST), np.float32(_STEPS))


@cache
def _packed_levels() -> NDArray[np.uint8]:
    # Sums are truncated to a step, so on average they lie in the middle of it.
    values = (np.arange(_VALUES) + 0.5) / _STEPS + _LOWEST
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _make_float_loop(lut: Lut3D, interpolation: Interpolation, top: int) -> Loop:
    tetrahedral = interpolation == "tetrahedral"
    loop = kernels.tetrahedral_float if tetrahedral else kernels.trilinear_float
    table = np.array(lut.table, order="C").reshape(-1, 3)
    keys = _make_keys(lut, top, kernels.FLOAT_ONE)
    return partial(loop, keys, table, np.float32(top), np.uint64(lut.size))


def _make_local_loop(lut: LocalLut, dtype: np.dtype[Any]) -> LocalLoop:
    """Lay the entries of all tables side by side, and choose the arithmetic as `prepare` does."""
    top, count = int(np.iinfo(dtype).max), len(lut.tables)
    last = lut.map.shape[1] - 1
    # Rounded up, so that white is at the last level.
    scale = -(-(last << int(local_kernels.LUMA_BITS)) // (LUMA_ONE * top))
    red, green, blue = (np.uint64(int(it) * scale) for it in LUMA)
    rest = lut.map, (red, green, blue)
    span = kernels.span_of(np.uint64(lut.size))
    if count == 2 and dtype == np.uint8 and all(_can_pack(it.table) for it in lut.tables):
        packed = np.stack([_pack(it) for it in lut.tables], axis=1).ravel()
        keys = _make_keys(lut.tables[0], top, kernels.WEIGHT_ONE, count)
        loop = local_kernels.mix_two_packed
        return partial(loop, keys, packed, _packed_levels(), np.uint64(count) * span, *rest)
    steps = np.zeros((lut.size**3, 3, MAX_TABLES), np.float32)
    before = np.zeros((1, 3), np.float32)
    for index, it in enumerate(lut.tables):
        table = it.table.reshape(-1, 3) * np.float32(top / float(kernels.FLOAT_ONE))
        steps[..., index] = table - before
        before = table
    keys = _make_keys(lut.tables[0], top, kernels.FLOAT_ONE)
    flat = steps.reshape(len(steps), -1)
    return partial(local_kernels.mix_float, keys, flat, np.float32(top), span, *rest)


def _make_keys(lut: Lut3D, top: int, one: np.uint64, tables: int = 1) -> NDArray[np.uint64]:
    """Compute the keys (3, top + 1) of all levels of each channel.

    Args:
        lut: the LUT.
        top: the highest level.
        one: encodes the fraction 1.
        tables: how many entries of tables lie side by side.
    """
    inputs = np.linspace(0, 1, top + 1)
    keys = np.empty((3, top + 1), np.uint64)
    for channel in range(3):
        distance = np.uint64(tables * lut.size**channel)
        position = lut.coordinates(inputs, channel)
        cell = np.minimum(position, lut.size - 2).astype(np.uint64)
        fraction = np.rint((position - cell) * float(one)).astype(np.uint64)
        offset = cell * distance
        keys[channel] = fraction << kernels.FRACTION | offset << kernels.OFFSET | distance
    return keys
