"""SP-LUT (Ma et al., ECCV 2022): three layers of tables without interpolation, x4.

The high and the low four bits of a pixel go through branches of their own, whose results are added.
A table has four inputs of 16 levels. The published files hold networks, whose values on the grid
are the tables.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import erf
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.errors import BadModel
from app.jit import jit
from app.restoration.engine import Maps, Model, Tables, take
from app.restoration.published_files import Hparams, Imported, read_tensors

Floats = NDArray[np.float32]

_FILES = re.compile(r"SPLUT_(?P<size>[SL])_.*_(?P<branch>[AB])_.*\.pth")
_SCALE, _LEVELS = 4, 16
_CHANNELS = {"s": 4, "l": 16}
_HALF = 8  # the inputs of layers 2 and 3 are -8..7
_REACH = 4  # a pixel for each layer, and the border's reflection
_FACTORS = {"s": (16 / 255, 1 / 255), "l": (1 / 16, 1 / 16)}  # of the high and the low bits
# Of each table of a layer: whether it reads columns instead of rows, and its first channel.
_PAIRS = {
    "s": {"v": (0, 0), "h": (1, 0)},
    "l": {"v": (0, 0), "v2": (0, 4), "h": (1, 8), "h2": (1, 12)},
}
_PUBLISHED = {"v": "lut221", "h": "lut212", "v2": "lut221_2", "h2": "lut212_2"}
_PUBLISHED_3 = {
    "v": "lut221_c12",
    "h": "lut212_c34",
    "v2": "lut221_c12_2",
    "h2": "lut212_c34_2",
}


@dataclass(frozen=True, eq=False)
class _Branch:
    size: str
    factor: float
    first: Floats
    second: dict[str, Floats]
    third: dict[str, Floats]

    def __call__(self, bits: NDArray[np.uint8]) -> Floats:
        """Map half of the bits (H, W), 0..15, to (16, H, W)."""
        padded = np.pad(bits, ((0, 1), (0, 1)), "reflect").astype(np.float32)[None]
        residual = (bits * np.float32(self.factor))[None]
        square = [(0, dy, dx) for dy in (0, 1) for dx in (0, 1)]
        first = _look_up(padded, square, self.first, 0, bits.shape) + residual
        second = self._pairs(first, self.second) + first
        return self._pairs(second, self.third) + residual

    def _pairs(self, maps: Floats, tables: dict[str, Floats]) -> Floats:
        """Return the mean of tables of two channels and two rows, or two columns."""
        results = []
        for name, (axis, channel) in _PAIRS[self.size].items():
            after, before = [(0, 0)] * 3, [(0, 0)] * 3
            after[1 + axis], before[1 + axis] = (0, 1), (1, 0)
            pair = np.pad(maps[channel : channel + 2], after, "reflect")
            pair += np.pad(maps[channel + 2 : channel + 4], before, "reflect")
            steps = [(0, 0), (0, 1)] if axis else [(0, 0), (1, 0)]
            taps = [(c, *step) for c in (0, 1) for step in steps]
            results.append(_look_up(pair, taps, tables[name], _HALF, maps.shape[1:]))
        total: Floats = sum(results[1:], results[0]) / np.float32(len(results))
        return total


def build(tables: Tables, hparams: Hparams) -> Model:
    """Build the model of a size, "s" or "l", from the tables `BRANCH_LAYER`.

    Raises:
        BadModel: a table is missing, or its shape does not fit.
    """
    size = hparams["size"]
    branches = [
        _branch(tables, size, branch, factor)
        for branch, factor in zip("ab", _FACTORS[size], strict=True)
    ]

    def run(maps: Maps) -> Maps:
        high, low = branches
        return np.stack([_shuffle(high(plane >> 4) + low(plane & 15)) for plane in maps])

    return Model(_SCALE, _REACH, run)


def import_splut(files: Sequence[Path]) -> Imported | None:
    """Read SPLUT_SIZE_*_A_*.pth and SPLUT_SIZE_*_B_*.pth; None if these are other files."""
    matches = {path: match for path in files if (match := _FILES.fullmatch(path.name))}
    if len(matches) != len(files):
        return None
    named = {it["branch"].lower(): (path, it["size"].lower()) for path, it in matches.items()}
    if sorted(named) != ["a", "b"] or len({size for _, size in named.values()}) != 1:
        raise BadModel("SP-LUT consists of two files of one size, A and B")
    size = named["a"][1]
    tables = {}
    for (branch, (path, _)), factor in zip(sorted(named.items()), _FACTORS[size], strict=True):
        weights = read_tensors(path)
        levels = np.arange(_LEVELS, dtype=np.float32)
        tables[f"{branch}_1"] = _evaluate(weights, "lut122", levels * np.float32(factor))
        for name in _PAIRS[size]:
            centred = levels - _HALF
            tables[f"{branch}_2_{name}"] = _evaluate(weights, _PUBLISHED[name], centred)
            tables[f"{branch}_3_{name}"] = _evaluate(weights, _PUBLISHED_3[name], centred)
    return Imported("sp-lut", tables, {"size": size})


def _branch(tables: Tables, size: str, branch: str, factor: float) -> _Branch:
    channels, rows = _CHANNELS[size], _LEVELS**4

    def layer(number: int, values: int) -> dict[str, Floats]:
        return {
            name: take(tables, f"{branch}_{number}_{name}", rows, values) for name in _PAIRS[size]
        }

    first = take(tables, f"{branch}_1", rows, channels)
    return _Branch(size, factor, first, layer(2, channels), layer(3, _SCALE**2))


def _look_up(
    maps: Floats,
    taps: Sequence[tuple[int, int, int]],
    table: Floats,
    bias: int,
    size: tuple[int, ...],
) -> Floats:
    out = np.zeros((table.shape[1], *size), np.float32)
    direct(maps, np.array(taps), np.float32(bias), _LEVELS, table, out)
    return out


def _shuffle(values: Floats) -> NDArray[np.uint8]:
    """Arrange (16, H, W), 0..1, as an image (4 * H, 4 * W)."""
    _, height, width = values.shape
    blocks = values.reshape(_SCALE, _SCALE, height, width).transpose(2, 0, 3, 1)
    image = blocks.reshape(_SCALE * height, _SCALE * width).clip(0, 1)
    return np.rint(image * np.float32(255)).astype(np.uint8)


def _evaluate(weights: Tables, name: str, levels: Floats) -> Floats:
    """Compute the table of a network: its output for each combination of four levels."""
    values = np.array(list(product(levels, repeat=4)), np.float32)
    last = max(int(it.split(".")[1]) for it in weights if it.startswith(f"{name}."))
    for layer in range(0, last + 1, 2):
        weight = weights[f"{name}.{layer}.weight"]
        values = values @ weight.reshape(len(weight), -1).T + weights[f"{name}.{layer}.bias"]
        if layer < last:
            values = _gelu(values)
    return np.ascontiguousarray(values, np.float32)


@jit
def direct(
    maps: NDArray[np.float32],
    taps: NDArray[np.int64],
    bias: np.float32,
    levels: int,
    table: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Add the entries of a table without interpolation.

    Args:
        maps: (C, H + dy, W + dx).
        taps: (n, 3), the map and the offset (dy, dx) of each tap, not negative.
        bias: added to a value before it is rounded down to a level 0..levels - 1.
        levels: of each axis.
        table: (levels ** n, V).
        out: (V, H, W), added to.
    """
    values, height, width = out.shape
    for y in range(height):
        for x in range(width):
            row = 0
            for t in range(taps.shape[0]):
                value = np.floor(maps[taps[t, 0], y + taps[t, 1], x + taps[t, 2]] + bias)
                row = row * levels + int(min(max(value, np.float32(0)), np.float32(levels - 1)))
            for v in range(values):
                out[v, y, x] += table[row, v]


@jit
def _gelu(values: Floats) -> Floats:
    out = np.empty_like(values)
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            value = values[i, j]
            out[i, j] = value * np.float32(0.5 + 0.5 * erf(value / 2**0.5))
    return out
