"""Descriptions of spatial LUTs: which pixels index which tables, and how entries are summed.

A **tap** is one of the pixels that index a table. A **lookup** reads a table by its taps, in each
of four rotations of the image. A **layer** sums lookups and rounds to 8 bits. A **description** is
a method without its tables: layers over numbered maps. `app.restoration.engine` makes a model of it
and its tables; `app.training.restoration` learns the tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.errors import BadModel
from app.restoration.kernels import Geometry

Padding: TypeAlias = Literal["edge", "reflect"]

MAX_TAPS = 4
ROTATIONS = (0, 1, 2, 3)
STEPS = (1, 2, 4, 8, 16, 32, 64)  # distances of the levels of a grid


class Tap(NamedTuple):
    """A pixel at an offset, in one of the maps that a layer reads."""

    dy: int
    dx: int
    channel: int = 0

    def rotate(self, turns: int) -> Tap:
        """Return the tap in the image rotated `turns` times by 90 degrees."""
        dy, dx = self.dy, self.dx
        for _ in range(turns):
            dy, dx = dx, -dy
        return Tap(dy, dx, self.channel)


# The patterns of the published methods; X is named "t" in LeRF's files.
PATTERNS: dict[str, tuple[Tap, ...]] = {
    "s": (Tap(0, 0), Tap(0, 1), Tap(1, 0), Tap(1, 1)),
    "d": (Tap(0, 0), Tap(0, 2), Tap(2, 0), Tap(2, 2)),
    "y": (Tap(0, 0), Tap(1, 1), Tap(1, 2), Tap(2, 1)),
    "c": (Tap(0, 0), Tap(0, 1), Tap(0, 2), Tap(0, 3)),
    "x": (Tap(0, 0), Tap(1, 1), Tap(2, 2), Tap(3, 3)),
    "v": (Tap(0, 0), Tap(0, 1), Tap(1, 1)),
}


class Lookup(NamedTuple):
    """A table that is read for each pixel.

    Attributes:
        table: its name.
        taps: that index it, the most significant first; one to four.
        rotations: of the image, in which it is read.
    """

    table: str
    taps: tuple[Tap, ...]
    rotations: tuple[int, ...] = ROTATIONS


@dataclass(frozen=True)
class Layer:
    """A sum of entries of tables, rounded to 8 bits.

    Output = round(clip(f(sum / denominator) + bias)), half to even, where an entry of a table
    counts fully. The tables are int8 (L ** n, maps * scale ** 2).

    Attributes:
        name: recipes refer to it; layers that read the same tables share it.
        lookups: of tables of equal shapes.
        denominator: of the sum over all lookups and rotations.
        bias: added after the division.
        reads: numbers of the maps that are read: those of the image come first, then those that
            the layers make, in their order.
        maps: how many maps the layer makes.
        scale: output rows and columns for each of the input.
        padding: of the maps at the image's borders.
        residual: whether the pixel itself, of the first map, is added to each output.
        interpolated: whether entries are interpolated on simplices between L = 256 / step + 1
            levels; otherwise the entry at the level below is read, of L = 256 / step.
        diagonal: where a tap differs from the first by more levels, a second table `coarse_TABLE`
            of twice the step is read, and the first one holds the entries near the diagonal alone
            (DFC, SPF-LUT's compression); 0 for whole tables.
        squashed: whether f(x) = 127 * tanh(x / 127) instead of x (RC-LUT).
        follows: of each map, the tap that it is equal to before training.
    """

    name: str
    lookups: tuple[Lookup, ...]
    denominator: float
    bias: float = 0.0
    reads: tuple[int, ...] = (0,)
    maps: int = 1
    scale: int = 1
    padding: Padding = "edge"
    residual: bool = False
    interpolated: bool = True
    diagonal: int = 0
    squashed: bool = False
    follows: tuple[int, ...] = (0,)

    @property
    def taps(self) -> int:
        """The number of taps of each lookup."""
        return len(self.lookups[0].taps)

    @property
    def values(self) -> int:
        """The number of values of an entry."""
        return self.maps * self.scale**2

    @property
    def reach(self) -> int:
        """The largest distance of a tap from its pixel, in rows or columns."""
        taps = (tap for lookup in self.lookups for tap in lookup.taps)
        return max(max(abs(tap.dy), abs(tap.dx)) for tap in taps)

    @property
    def corrects(self) -> bool:
        """Whether its entries are corrections of the one map that it reads."""
        return self.residual and self.interpolated and len(self.reads) == 1

    def levels(self, step: int) -> int:
        """Return the number of levels of a grid on 0..255."""
        return 256 // step + self.interpolated

    def step(self, rows: int) -> int:
        """Return the distance of the levels of a whole table by its number of rows.

        Raises:
            BadModel: no grid has this number of rows.
        """
        found = [step for step in STEPS if self.levels(step) ** self.taps == rows]
        if not found:
            raise BadModel(f"a table of {rows} rows, which no grid of {self.taps} taps has")
        return found[0]

    def geometry(self, step: int, row: int, plane: int, *, compressed: bool) -> Geometry:
        """Return where the taps lie in maps in memory, and which entries they read.

        Args:
            step: the distance of the levels.
            row: the length of a row of a map.
            plane: the length of a map.
            compressed: whether the tables are compressed to the diagonal.
        """
        groups = [
            (index, turns, [it.channel * plane + it.dy * row + it.dx for it in taps])
            for index, lookup in enumerate(self.lookups)
            for turns in lookup.rotations
            for taps in [[tap.rotate(turns) for tap in lookup.taps]]
        ]
        tables, turns, offsets = zip(*groups, strict=True)
        rows = diagonal_rows(step, self.diagonal) if compressed else np.ones(1, np.bool)
        return Geometry(
            np.array([_fill(it) for it in offsets]),
            _strides(self.levels(step), self.taps),
            np.int32(step.bit_length() - 1),
            self.interpolated,
            np.array(tables),
            np.array(turns),
            _value_order(self.maps, self.scale),
            self.diagonal if compressed else 0,
            _strides(self.levels(2 * step), self.taps),
            (np.cumsum(rows) - 1).astype(np.int32),
            np.int32(rows.sum()),
        )


@dataclass(frozen=True)
class Description:
    """A method without its tables.

    The result are the last maps, as many as the image has; their layers alone may have a scale.

    Attributes:
        layers: in the order in which they run.
        channels: of the image: 1 where red, green and blue are processed alike and alone, or 3.
    """

    layers: tuple[Layer, ...]
    channels: int = 1

    @property
    def scale(self) -> int:
        """Output rows and columns for each of the input."""
        return self.layers[-1].scale

    @property
    def reach(self) -> int:
        """Rows or columns of input around a pixel that its output depends on."""
        return self.margins()[0]

    def margins(self) -> list[int]:
        """Return how far around a pixel of the result each map is read.

        The maps of a layer have one margin, that of the map that is read farthest; so do those of
        the image.
        """
        number = self.channels + sum(layer.maps for layer in self.layers)
        margins = [0] * number
        for layer in reversed(self.layers):
            number -= layer.maps
            margin = max(margins[number : number + layer.maps])
            margins[number : number + layer.maps] = [margin] * layer.maps
            for read in layer.reads:
                margins[read] = max(margins[read], margin + layer.reach)
        return [max(margins[:number])] * number + margins[number:]


@cache
def diagonal_rows(step: int, diagonal: int) -> NDArray[np.bool]:
    """Return which entries of a grid of four taps are corners of pixels near the diagonal.

    Args:
        step: the distance of the levels.
        diagonal: the largest difference of the other taps from the first, in levels.
    """
    grid = np.stack(np.meshgrid(*[np.arange(256 // step + 1)] * MAX_TAPS, indexing="ij"))
    rows: NDArray[np.bool] = (np.abs(grid - grid[0]).max(0) <= diagonal // step + 1).ravel()
    return rows


def _value_order(maps: int, scale: int) -> NDArray[np.int64]:
    """Return which value of an entry belongs to each output, in each rotation: (4, V)."""
    index = np.arange(maps * scale**2).reshape(maps, scale, scale)
    # The rotated sub-pixel (u, v) lies at (v, s - 1 - u).
    return np.stack([np.rot90(index, -turns, axes=(1, 2)).ravel() for turns in ROTATIONS])


def _strides(levels: int, taps: int) -> NDArray[np.int32]:
    return np.array(_fill([levels**n for n in range(taps)][::-1]), np.int32)


def _fill(values: Sequence[int]) -> list[int]:
    """Extend to four taps: an axis of stride 0 does not change an interpolation."""
    return [*values, *[0] * (MAX_TAPS - len(values))]
