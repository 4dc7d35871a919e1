"""LeRF (Li et al., CVPR 2023): resampling by steerable kernels whose shapes are looked up.

Each input pixel has a Gaussian kernel of its own; an output pixel is the mean of its four nearest
input pixels, weighted by their kernels. Any scale is possible.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from app.jit import jit
from app.restoration.engine import Maps, Stage, Tables
from app.restoration.layers import PATTERNS, Layer, Lookup
from app.restoration.published_files import Hparams, Imported, read_table

Bytes = NDArray[np.uint8]

_FILE = re.compile(r"LUTft_s(?P<stage>[12])_(?P<pattern>[sct])r(?P<turn>[01])\.npy")
_PATTERNS = {"s": "s", "c": "c", "t": "x"}  # by their names in the files
_SHAPES = 3  # values that determine a kernel
_NEIGHBOURS = 2  # rows of input around a position that are read, with a row to spare


@dataclass(frozen=True, eq=False)
class Resampler:
    """Resizes images by any factor of at least 1.

    Attributes:
        sharpen: the input map to the values that are resampled.
        scale: any.
        shapes: these values to (3, H, W): the correlation of each pixel's kernel, and its inverse
            widths down and across.
    """

    sharpen: Stage
    shapes: Stage
    scale: ClassVar[None] = None

    def run_rows(self, maps: Maps, scale: float, first: int, last: int) -> Maps:
        """Compute the output rows `first`..`last` - 1 of maps (C, H, W): (C, rows, scale * W)."""
        count, height, width = maps.shape
        side, reach = output_side(height, scale), self.sharpen.layer.reach + self.shapes.layer.reach
        begin = math.floor(_position(first, height, side, scale)) - _NEIGHBOURS
        end = math.ceil(_position(last - 1, height, side, scale)) + _NEIGHBOURS + 1
        begin, end = max(0, begin), min(height, end)
        top = max(0, begin - reach)
        out = np.empty((count, last - first, output_side(width, scale)), np.uint8)
        for channel in range(count):
            plane = np.ascontiguousarray(maps[None, channel, top : end + reach])
            values = self.sharpen(plane)
            shapes = self.shapes(values)
            size, scaled = (height, width), (side, out.shape[2])
            resample(values[0], shapes, top, size, scaled, first, float(scale), out[channel])
        return out


def build(tables: Tables, _: Hparams) -> Resampler:
    """Build the resampler from the tables `sharpen_PATTERN` and `shapes_PATTERN_TURN`.

    Raises:
        BadModel: a table is missing, or its shape does not fit.
    """
    patterns = _PATTERNS.values()
    sharpen = tuple(Lookup(f"sharpen_{it}", PATTERNS[it]) for it in patterns)
    shapes = tuple(
        Lookup(f"shapes_{it}_{turn}", PATTERNS[it], (turn, turn + 2))
        for it in patterns
        for turn in (0, 1)
    )
    return Resampler(
        Stage(Layer("sharpen", sharpen, 3), tables),
        Stage(Layer("shapes", shapes, 12, 127, maps=_SHAPES), tables),
    )


def import_lerf(files: Sequence[Path]) -> Imported | None:
    """Read the nine tables LUTft_*.npy; None if these are other files."""
    matches = {path: match for path in files if (match := _FILE.fullmatch(path.name))}
    if len(matches) != len(files):
        return None
    tables = {}
    for path, it in matches.items():
        pattern = _PATTERNS[it["pattern"]]
        name = f"sharpen_{pattern}" if it["stage"] == "1" else f"shapes_{pattern}_{it['turn']}"
        tables[name] = read_table(path)
    return Imported("lerf-g", tables, {})


def output_side(side: int, scale: float) -> int:
    """Return the number of output rows or columns."""
    return math.ceil(scale * side - 1e-9)


@jit
def _position(output: int, side: int, output_side: int, scale: float) -> float:
    return output / scale + (side - 1) / 2 - (output_side - 1) / (2 * scale)


@jit
def resample(
    values: Bytes,
    shapes: Bytes,
    top: int,
    size: tuple[int, int],
    scaled: tuple[int, int],
    first: int,
    scale: float,
    out: Bytes,
) -> None:
    """Compute output rows of one channel.

    Args:
        values: (h, W), rows of the input.
        shapes: (3, h, W), the correlation and the inverse widths down and across of their kernels.
        top: the number of the first of these rows in the image.
        size: (H, W) of the whole input.
        scaled: (H, W) of the whole output.
        first: the number of the first output row.
        scale: output rows for each of the input.
        out: (rows, output W), written.
    """
    height, width = size
    for y in range(out.shape[0]):
        row = _position(first + y, height, scaled[0], scale)
        north = math.ceil(row - 1 - 1e-9)
        for x in range(out.shape[1]):
            column = _position(x, width, scaled[1], scale)
            west = math.ceil(column - 1 - 1e-9)
            total = weights = 0.0
            for i in range(north, north + 2):
                v = min(max(i, 0), height - 1) - top
                for j in range(west, west + 2):
                    u = min(max(j, 0), width - 1)
                    correlation = 2.0 * shapes[0, v, u] / 255.0 - 1.0
                    down = 10.0 * shapes[1, v, u] / 255.0 * (row - i)
                    across = 10.0 * shapes[2, v, u] / 255.0 * (column - j)
                    distance = down * down - 2.0 * correlation * down * across + across * across
                    weight = math.exp(-0.5 * distance)
                    weights += weight
                    total += weight * values[v, u]
            out[y, x] = np.uint8(np.rint(min(max(total / max(weights, 1e-300), 0.0), 255.0)))
