"""Spatial LUTs: tables that are indexed by a pixel and its neighbours.

A **tap** is one of the pixels that index a table. A **group** is a table with its taps, looked up
in each of four rotations of the image. A **stage** sums the groups and rounds to 8 bits. A
**model** is one or more stages; its output has `scale` rows and columns for each of the input.

SR-LUT (Jo and Kim, CVPR 2021) is one stage of one group, MuLUT (Li et al., ECCV 2022) two stages of
three.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.restoration import kernels

Maps: TypeAlias = NDArray[np.uint8]  # (C, H, W)
Padding: TypeAlias = Literal["edge", "reflect"]

MAX_TAPS = 4
ROTATIONS = (0, 1, 2, 3)


class Tap(NamedTuple):
    """A pixel at an offset, in one of the input maps."""

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


@dataclass(frozen=True, eq=False)
class Group:
    """A table with the taps that index it, the most significant first.

    Attributes:
        taps: one to four.
        table: int8 (L ** n, M * scale ** 2); M maps, each of scale x scale values in rows.
        rotations: in which it is looked up.
        coarse: the table of twice the step that is read far from the diagonal; see `Stage`.
    """

    taps: tuple[Tap, ...]
    table: NDArray[np.int8]
    rotations: tuple[int, ...] = ROTATIONS
    coarse: NDArray[np.int8] | None = None


@dataclass(frozen=True, eq=False)
class Stage:
    """A sum of interpolated tables, rounded to 8 bits.

    Output = round(clip(sum / denominator + bias)), half to even, where an entry of a table counts
    fully, and entries between the grid's levels are interpolated on simplices.

    Attributes:
        groups: their tables have equal shapes.
        denominator: of the sum over all groups and rotations.
        bias: added after the division.
        scale: output rows and columns for each of the input.
        step: the distance of the grid's levels: 16, or 32 for coarse tables; a power of two.
        padding: of the input at the image's borders.
        residual: whether the pixel itself, of the first input map, is added to each output.
        diagonal: where a tap differs from the first by more levels, `Group.coarse` is read
            (DFC, SPF-LUT's compression); 0 where there are no coarse tables.
    """

    groups: tuple[Group, ...]
    denominator: float
    bias: float = 0.0
    scale: int = 1
    step: int = 16
    padding: Padding = "edge"
    residual: bool = False
    diagonal: int = 0

    def __post_init__(self) -> None:
        levels = grid_levels(self.step)
        for group in self.groups:
            rows = levels ** len(group.taps)
            if not 1 <= len(group.taps) <= MAX_TAPS or group.table.shape[0] != rows:
                raise ValueError(f"a table of {group.table.shape[0]} rows, expected {rows}")
            if group.table.shape[1] % self.scale**2:
                raise ValueError(f"a table of {group.table.shape[1]} values in a row")
            coarse = (grid_levels(2 * self.step) ** len(group.taps), group.table.shape[1])
            if (None if group.coarse is None else group.coarse.shape) != (
                coarse if self.diagonal else None
            ):
                raise ValueError(f"coarse tables do not fit, expected {coarse}")

    @property
    def reach(self) -> int:
        """The largest distance of a tap from its pixel, in rows or columns."""
        taps = (tap for group in self.groups for tap in group.taps)
        return max(max(abs(tap.dy), abs(tap.dx)) for tap in taps)

    @cached_property
    def _tables(self) -> NDArray[np.int8]:
        return np.stack(
            [
                group.table if group.coarse is None else np.concatenate([group.table, group.coarse])
                for group in self.groups
            ]
        )

    def __call__(self, maps: Maps) -> Maps:
        """Compute the output maps (M, scale * H, scale * W) of input maps (C, H, W)."""
        height, width = maps.shape[1:]
        reach = self.reach
        padded = np.pad(maps, ((0, 0), (reach, reach), (reach, reach)), self.padding)
        row, plane = padded.shape[2], padded.shape[1] * padded.shape[2]
        lookups = [
            (index, turns, _offsets([tap.rotate(turns) for tap in group.taps], row, plane))
            for index, group in enumerate(self.groups)
            for turns in group.rotations
        ]
        luts, turns, offsets = zip(*lookups, strict=True)
        taps = len(self.groups[0].taps)
        levels, doubled = grid_levels(self.step), grid_levels(2 * self.step)
        strides, coarse_strides = (
            np.array(_fill([it**n for n in range(taps)][::-1], 0), np.int32)
            for it in (levels, doubled)
        )
        unit = self.step * (2 if self.diagonal else 1)
        tables = self._tables
        count = tables.shape[2] // self.scale**2
        out = np.empty((count, height * self.scale, width * self.scale), np.uint8)
        kernels.simplex(
            padded.ravel(),
            row,
            reach * row + reach,
            np.array(offsets),
            strides,
            np.int32(self.step.bit_length() - 1),
            np.array(luts),
            np.array(turns),
            tables,
            value_order(count, self.scale),
            self.scale,
            float(self.denominator * unit),
            float(self.bias),
            self.residual,
            self.diagonal,
            coarse_strides,
            np.int32(levels**taps),
            out,
        )
        return out


@dataclass(frozen=True, eq=False)
class Model:
    """Maps images to images of `scale` times the size.

    Attributes:
        scale: a whole number.
        reach: rows or columns of input around a pixel that its output depends on.
        run: maps uint8 (C, H, W) to (C, scale * H, scale * W).
        channels: C; 1 where red, green and blue are processed alike and alone.
    """

    scale: int
    reach: int
    run: Callable[[Maps], Maps]
    channels: int = 1

    def run_rows(self, maps: Maps, first: int, last: int) -> Maps:
        """Compute the output of the input rows `first`..`last` - 1 of maps (C, H, W)."""
        top, bottom = max(0, first - self.reach), last + self.reach
        planes = np.ascontiguousarray(maps[:, top:bottom])
        split = range(0, len(planes), self.channels)
        out = np.concatenate([self.run(planes[c : c + self.channels]) for c in split])
        begin = self.scale * (first - top)
        return out[:, begin : begin + self.scale * (last - first)]


def chain(stages: Sequence[Stage]) -> Model:
    """Make a model of stages, each of which reads the output of the one before."""

    def run(maps: Maps) -> Maps:
        for stage in stages:
            maps = stage(maps)
        return maps

    return Model(stages[-1].scale, sum(stage.reach for stage in stages), run)


def value_order(maps: int, scale: int) -> NDArray[np.int64]:
    """Return which value of an entry belongs to each output, in each rotation: (4, V)."""
    index = np.arange(maps * scale**2).reshape(maps, scale, scale)
    # The rotated sub-pixel (u, v) lies at (v, s - 1 - u).
    return np.stack([np.rot90(index, -turns, axes=(1, 2)).ravel() for turns in ROTATIONS])


def grid_levels(step: int) -> int:
    """Return the number of levels of a grid on 0..255: 17 for a step of 16."""
    return 256 // step + 1


def _offsets(taps: Sequence[Tap], row: int, plane: int) -> list[int]:
    return _fill([tap.channel * plane + tap.dy * row + tap.dx for tap in taps], 0)


def _fill(values: list[int], value: int) -> list[int]:
    """Extend to four taps: an axis of stride 0 does not change an interpolation."""
    return values + [value] * (MAX_TAPS - len(values))
