"""A description in training: float tables, the maps between its layers, and their slopes.

Entries and the maps between layers are rounded in the forward pass only: the slope of a rounded
value counts as that of the value (straight-through).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.restoration.engine import coarse
from app.restoration.kernels import HALF, Geometry, weight_of
from app.restoration.layers import Description, Layer, diagonal_rows
from app.training.restoration import kernels
from app.training.restoration.patches import Bytes, Patches
from app.training.restoration.tables import Floats, Table, flat_rows, refine_grid, start_grid

_COARSE = 32  # the step of the coarse part of compressed tables

Slopes: TypeAlias = dict[int, Floats]  # by the number of the map


class Tape(NamedTuple):
    """The inputs and outputs of a layer, from which slopes are computed.

    Attributes:
        maps: uint8 (N, C, H, W), those that it read, of equal margins.
        tables: float32 (K, rows, V), rounded.
        out: float32 (N, h, w, V), not clamped.
        slope: of `out` with respect to the quotient of the sum.
    """

    maps: Bytes
    tables: Floats
    out: Floats
    slope: Floats | float


@dataclass
class TrainedLayer:
    """A layer, its place among the maps, and its grid.

    Attributes:
        layer: of the description.
        made: the number of its first map.
        cuts: of each map that it reads, by how much the margin exceeds what is read.
        step: the distance of the levels of its tables.
    """

    layer: Layer
    made: int
    cuts: tuple[int, ...]
    step: int

    @property
    def compressed(self) -> bool:
        """Whether the tables are compressed to the diagonal (DFC)."""
        return self.layer.diagonal > 0 and self.step < _COARSE

    @property
    def names(self) -> list[list[str]]:
        """The names of the tables, those of the fine grid first."""
        fine = [lookup.table for lookup in self.layer.lookups]
        return [fine, [coarse(it) for it in fine]] if self.compressed else [fine]

    def flat_rows(self) -> Iterator[tuple[str, NDArray[np.intp]]]:
        """Yield the names of the tables, and which of their entries have equal taps."""
        for part, step in zip(self.names, (self.step, 2 * self.step), strict=False):
            rows = flat_rows(self.layer, step, compressed=self.compressed and step == self.step)
            yield from ((name, rows) for name in part)

    def read(self, maps: Sequence[Bytes]) -> Bytes:
        """Return the maps that it reads: (N, C, H, W)."""
        pairs = zip(self.layer.reads, self.cuts, strict=True)
        return np.stack([inside(maps[it], cut) for it, cut in pairs], axis=1)

    def sum(self, maps: Bytes, tables: Floats) -> Floats:
        """Compute the sum of the entries divided by the denominator: (N, h, w, V)."""
        count, _, height, width = maps.shape
        reach, geometry = self.layer.reach, self._geometry(maps)
        out = np.empty(
            (count, height - 2 * reach, width - 2 * reach, self.layer.values), np.float32
        )
        flat, origin = maps.reshape(count, -1), reach * (width + 1)
        kernels.forward(flat, width, origin, geometry, tables, out)
        out /= self.layer.denominator * weight_of(geometry)
        return out

    def run(self, maps: Bytes, tables: Floats) -> Tape:
        """Compute the output of the maps that `read` returned."""
        out = self.sum(maps, tables)
        slope: Floats | float = 1.0
        if self.layer.squashed:
            out = np.tanh(out / np.float32(HALF))
            slope = 1 - np.square(out)
            out *= HALF
        out += self.layer.bias
        if self.layer.residual:
            out += inside(maps[:, 0], self.layer.reach)[..., None]
        return Tape(maps, tables, out, slope)

    def add_slopes(
        self, tape: Tape, slopes: Floats, table_slopes: Floats, *, passes_on: bool
    ) -> Floats | None:
        """Add to the slopes of the tables, and return those of the maps (N, C, H, W), if wanted.

        Args:
            tape: of `run`.
            slopes: of the loss with respect to the output (N, h, w, V).
            table_slopes: (K, rows, V), added to.
            passes_on: whether the slopes of the maps are wanted.
        """
        count, channels, height, width = tape.maps.shape
        reach, geometry = self.layer.reach, self._geometry(tape.maps)
        unit = np.float32(self.layer.denominator * weight_of(geometry))
        scaled = np.ascontiguousarray(slopes * tape.slope / unit, np.float32)
        inputs = np.zeros((count, channels * height * width if passes_on else 0), np.float32)
        places = np.zeros(1, np.int32)
        if self.compressed:
            places = np.flatnonzero(diagonal_rows(self.step, self.layer.diagonal)).astype(np.int32)
        flat, origin = tape.maps.reshape(count, -1), reach * (width + 1)
        kernels.backward(
            flat, width, origin, geometry, places, tape.tables, scaled, table_slopes, inputs
        )
        if not passes_on:
            return None
        shaped = inputs.reshape(tape.maps.shape)
        if self.layer.residual:
            inner = inside(shaped[:, 0], reach)
            inner += slopes.sum(-1)
        return shaped

    def _geometry(self, maps: Bytes) -> Geometry:
        row, plane = maps.shape[3], maps.shape[2] * maps.shape[3]
        return self.layer.geometry(self.step, row, plane, compressed=self.compressed)


class Network:
    """The layers of a description, and its tables.

    Attributes:
        layers: in the order in which they run.
        tables: by name; layers may share them.
    """

    def __init__(self, description: Description, grids: Sequence[int], sets: int = 1) -> None:
        """Begin with tables that change nothing.

        Args:
            description: of the method.
            grids: see `refine`.
            sets: of tables; see `Table`.
        """
        self.description = description
        self.layers: list[TrainedLayer] = []
        self.tables: dict[str, Table] = {}
        margins, made = description.margins(), description.channels
        steps = self._to_steps(grids)
        for layer in description.layers:
            step = max(steps[layer.name], _COARSE if layer.diagonal else 1)
            needed = margins[made] + layer.reach
            cuts = tuple(margins[it] - needed for it in layer.reads)
            self.layers.append(TrainedLayer(layer, made, cuts, step))
            made += layer.maps
            start = np.repeat(start_grid(layer, step)[None], sets, axis=0)
            self.tables |= {lookup.table: Table(start.copy()) for lookup in layer.lookups}
        self.refine(grids)

    def refine(self, grids: Sequence[int]) -> None:
        """Halve the distance of the levels of each layer until it is as given.

        Where compressed tables become finer than their coarse part, that part is kept, and of the
        finer grid the entries near the diagonal.

        Args:
            grids: a distance for each layer with a name of its own, or one for all.
        """
        steps = self._to_steps(grids)
        refined: set[str] = set()
        for it in self.layers:
            while it.step > steps[it.layer.name]:
                it.step //= 2
                for name in {lookup.table for lookup in it.layer.lookups} - refined:
                    before = self.tables[name].entries
                    finer = np.stack([refine_grid(it.layer, 2 * it.step, part) for part in before])
                    if it.compressed:
                        self.tables[coarse(name)] = Table(before)
                        finer = finer[:, diagonal_rows(it.step, it.layer.diagonal)]
                    self.tables[name] = Table(np.ascontiguousarray(finer))
            refined |= {lookup.table for lookup in it.layer.lookups}

    def forward(self, inputs: Bytes, weights: Sequence[float]) -> list[Tape]:
        """Run the layers on inputs (N, C, H, W), whose margin is the description's reach."""
        maps = list(inputs.transpose(1, 0, 2, 3))
        tapes = []
        for it in self.layers:
            blended = [[self.tables[name].blend(weights) for name in part] for part in it.names]
            tables = np.concatenate([np.stack(part) for part in blended], axis=1)
            tapes.append(it.run(it.read(maps), tables))
            rounded = np.rint(tapes[-1].out.clip(0, 255)).astype(np.uint8)
            maps.extend(rounded.transpose(3, 0, 1, 2)[: it.layer.maps])
        return tapes

    def results(self, tapes: Sequence[Tape]) -> Floats:
        """Return the outputs of the last layers: (C, N, h, w, scale ** 2), not clamped."""
        return np.stack([tape.out for tape in tapes[-self.description.channels :]])

    def propagate(self, patches: Patches) -> float:
        """Add to the slopes of the tables; return the mean squared error."""
        tapes = self.forward(patches.inputs, patches.weights)
        error = self.results(tapes).clip(0, 255) - to_values(
            patches.targets, self.description.scale
        )
        self.backward(tapes, error, patches.weights)
        return float(np.square(error).mean())

    def backward(self, tapes: Sequence[Tape], slopes: Floats, weights: Sequence[float]) -> None:
        """Add the slopes of the loss with respect to `results` to those of the tables."""
        channels, maps = self.description.channels, Slopes()
        last = len(self.layers) - channels
        for number, (it, tape) in reversed(list(enumerate(zip(self.layers, tapes, strict=True)))):
            if number >= last:
                slope = slopes[number - last]
            else:
                empty = np.zeros(tape.out.shape[:3], np.float32)
                made = range(it.made, it.made + it.layer.maps)
                slope = np.stack([maps.pop(map_, empty) for map_ in made], axis=-1)
                slope *= (tape.out >= 0) & (tape.out <= 255)  # where rounded values may change
            found = np.zeros_like(tape.tables)
            passes_on = max(it.layer.reads) >= channels
            inputs = it.add_slopes(tape, slope, found, passes_on=passes_on)
            self._keep_slopes(it, found, weights)
            if inputs is not None:
                self._pass_on(it, inputs, maps)

    def update(self, rate: float) -> None:
        """Step all tables, and forget their slopes.

        In models of scale 1, entries of equal taps stay 0 where they correct a map: areas of one
        level do not change.
        """
        for table in self.tables.values():
            table.update(rate)
        for it in self.layers:
            if it.layer.corrects and self.description.scale == 1:
                for name, rows in it.flat_rows():
                    self.tables[name].entries[:, rows] = 0

    def to_tables(self, weights: Sequence[float]) -> dict[str, NDArray[np.int8]]:
        """Return the rounded tables of a kind of damage."""
        return {name: it.blend(weights).astype(np.int8) for name, it in self.tables.items()}

    def set_tables(self, tables: dict[str, Table]) -> None:
        """Continue with tables of another run, whose grids may be finer."""
        self.tables = tables
        for it in self.layers:
            name = it.layer.lookups[0].table
            halved = coarse(name) in tables
            rows = tables[coarse(name) if halved else name].entries.shape[1]
            it.step = it.layer.step(rows) // (2 if halved else 1)

    def _keep_slopes(self, it: TrainedLayer, found: Floats, weights: Sequence[float]) -> None:
        begin = 0
        for part in it.names:
            end = begin + self.tables[part[0]].entries.shape[1]
            for name, slopes in zip(part, found, strict=True):
                self.tables[name].add_slopes(weights, slopes[begin:end])
            begin = end

    def _pass_on(self, it: TrainedLayer, inputs: Floats, maps: Slopes) -> None:
        """Add the slopes of the maps that a layer read, where layers made them."""
        for number, (map_, cut) in enumerate(zip(it.layer.reads, it.cuts, strict=True)):
            if map_ >= self.description.channels:
                padded = np.pad(inputs[:, number], ((0, 0), (cut, cut), (cut, cut)))
                maps[map_] = maps[map_] + padded if map_ in maps else padded

    def _to_steps(self, grids: Sequence[int]) -> dict[str, int]:
        """Return the distance of the levels by the names of the layers."""
        names = list(dict.fromkeys(layer.name for layer in self.description.layers))
        chosen = list(grids) * len(names) if len(grids) == 1 else grids
        return dict(zip(names, chosen, strict=True))


def inside(maps: NDArray[Any], margin: int) -> NDArray[Any]:
    """Return maps (N, H, W) without a margin, as a view."""
    return maps[:, margin : maps.shape[1] - margin, margin : maps.shape[2] - margin]


def to_values(targets: Bytes, scale: int) -> Floats:
    """Gather the pixels of each input pixel: (N, C, s * P, s * P) to (C, N, P, P, s * s)."""
    count, channels, height, width = targets.shape
    blocks = targets.reshape(count, channels, height // scale, scale, width // scale, scale)
    gathered = blocks.transpose(1, 0, 2, 4, 3, 5)
    return gathered.reshape(*gathered.shape[:4], scale**2).astype(np.float32)
