"""TinyLUT (Li et al., NeurIPS 2024): sums of one-dimensional tables, x4.

The upper six and the lower two bits of a pixel go through branches of their own: a depthwise layer
of nine taps, a pointwise layer, and one that makes the sub-pixels; each adds its input. Between
them the sixteen channels are multiplied by learned scales, which also determine how many rows the
tables of the next layer have.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import BadModel
from app.jit import jit
from app.restoration.engine import Maps, Model, Tables, take
from app.restoration.layers import ROTATIONS
from app.restoration.published_files import Hparams, Imported, read_table, read_tensors

Integers = NDArray[np.int32]

_FILE = re.compile(r"Model_V_(L1_)?(?P<layer>Depth|Point|UP)_x4_(?P<bits>H6|L2)\.npy")
_WEIGHTS = "model_TinyLUT.pth"
_SCALE, _CHANNELS, _SIDE = 4, 16, 3
_REACH = _SIDE - 1
_LEVELS = {"h": np.arange(-32, 32), "l": np.arange(4)}  # of the upper and the lower bits
_LOW, _HIGH = -128, 127


@dataclass(frozen=True, eq=False)
class _Layer:
    """Tables of sixteen channels: those of channel c begin with the value `lowest[c]`."""

    table: NDArray[np.int8]
    scales: NDArray[np.float32]
    starts: NDArray[np.int64]

    def __call__(self, maps: Integers) -> Integers:
        """Scale the channels, and add the mean of their entries: (16, H, W) to (16, H, W)."""
        scaled: Integers = np.rint(maps * self.scales[:, None, None]).astype(np.int32)
        taps = np.array([(c, 0, 0) for c in range(_CHANNELS)])
        sums = np.zeros_like(scaled)
        sum_of_tables(scaled, taps, self.starts, self.table, sums)
        total: Integers = _divide(sums, _CHANNELS) + scaled
        return total


@dataclass(frozen=True, eq=False)
class _Branch:
    levels: NDArray[np.int64]
    depth: NDArray[np.int8]
    point: _Layer
    up: _Layer

    def __call__(self, bits: Integers) -> Integers:
        """Map half of the bits (H, W) to sub-pixels (16, H, W)."""
        padded = np.pad(bits, ((_REACH, 0), (_REACH, 0)), "reflect")[None]
        taps = np.array([(0, dy, dx) for dy in range(_SIDE) for dx in range(_SIDE)])
        count = len(self.levels)
        starts = np.arange(len(taps)) * count - self.levels[0]
        sums = np.zeros((_CHANNELS, *bits.shape), np.int32)
        sum_of_tables(padded, taps, starts, self.depth, sums)
        low, high = self.levels[0], self.levels[-1]
        maps = (_divide(sums, len(taps)) + bits).clip(low, high)
        maps = self.point(maps).clip(low, high)
        enlarged: Integers = self.up(maps).clip(_LOW, _HIGH)
        return enlarged


def build(tables: Tables, _: Hparams) -> Model:
    """Build the model from the tables `LAYER_BITS` and the scales `scale1_BITS`, `scale2_BITS`.

    Raises:
        BadModel: a table is missing, or its shape does not fit.
    """
    high, low = (_branch(tables, bits) for bits in "hl")

    def run_turned(plane: NDArray[np.uint8]) -> Integers:
        values = plane.astype(np.int32) - 128
        blocks = (high(values >> 2) + low(values & 3)).clip(_LOW, _HIGH)
        height, width = plane.shape
        grid = blocks.reshape(_SCALE, _SCALE, height, width).transpose(2, 0, 3, 1)
        return grid.reshape(_SCALE * height, _SCALE * width)

    def run_plane(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        turned = (np.rot90(run_turned(np.rot90(plane, -r)), r) for r in ROTATIONS)
        total = sum(turned, np.int32(0)).clip(_LOW, _HIGH)
        return (total + 128).astype(np.uint8)

    def run(maps: Maps) -> Maps:
        return np.stack([run_plane(plane) for plane in maps])

    return Model(_SCALE, _REACH, run)


def import_tinylut(files: Sequence[Path]) -> Imported | None:
    """Read the six tables Model_V_*.npy and model_TinyLUT.pth; None if these are other files."""
    matches = {path: match for path in files if (match := _FILE.fullmatch(path.name))}
    others = [path for path in files if path not in matches]
    if not matches or any(path.name != _WEIGHTS for path in others):
        return None
    if len(others) != 1:
        raise BadModel(f"TinyLUT needs the scales of {_WEIGHTS} beside its tables")
    tables = {
        f"{it['layer'].lower()}_{it['bits'][0].lower()}": read_table(path)
        for path, it in matches.items()
    }
    found = read_tensors(others[0])
    for layer in (1, 2):
        for bits in "hl":
            name = f"module.clip_h{bits}{layer}"
            if name not in found:
                raise BadModel(f"{others[0]}: tensor {name} is missing")
            tables[f"scale{layer}_{bits}"] = found[name].reshape(-1).astype(np.float32)
    return Imported("tinylut", tables, {})


def _branch(tables: Tables, bits: str) -> _Branch:
    levels = _LEVELS[bits]
    depth = take(tables, f"depth_{bits}", _SIDE**2 * len(levels), _CHANNELS)
    return _Branch(
        levels,
        depth,
        _layer(tables, f"point_{bits}", f"scale1_{bits}", levels),
        _layer(tables, f"up_{bits}", f"scale2_{bits}", levels),
    )


def _layer(tables: Tables, table: str, scale: str, levels: NDArray[np.int64]) -> _Layer:
    scales = take(tables, scale, _CHANNELS)
    ranges = np.rint(levels * scales[:, None]).astype(np.int64)  # (16, levels)
    lowest, counts = ranges.min(1), np.ptp(ranges, axis=1) + 1
    starts = np.cumsum(counts) - counts - lowest
    return _Layer(take(tables, table, int(counts.sum()), _CHANNELS), scales, starts)


def _divide(sums: Integers, count: int) -> Integers:
    return np.rint(sums / count).astype(np.int32)


@jit
def sum_of_tables(
    maps: NDArray[Any],
    taps: NDArray[np.int64],
    starts: NDArray[np.int64],
    table: NDArray[np.int8],
    out: NDArray[np.int32],
) -> None:
    """Add one entry of a one-dimensional table for each tap.

    Args:
        maps: (C, H + dy, W + dx) integers.
        taps: (n, 3), the map and the offset (dy, dx) of each tap, not negative.
        starts: (n,), the row of the value 0 of each tap.
        table: (rows, V).
        out: (V, H, W), added to.
    """
    values, height, width = out.shape
    for y in range(height):
        for x in range(width):
            for t in range(taps.shape[0]):
                row = starts[t] + maps[taps[t, 0], y + taps[t, 1], x + taps[t, 2]]
                for v in range(values):
                    out[v, y, x] += table[row, v]
