"""Models of spatial LUTs: a description and its tables, applied to images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.errors import BadModel
from app.restoration import kernels
from app.restoration.kernels import Finish
from app.restoration.layers import Description, Layer, diagonal_rows

Maps: TypeAlias = NDArray[np.uint8]  # (C, H, W)
Tables: TypeAlias = Mapping[str, NDArray[Any]]


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


class Stage:
    """A layer and its tables."""

    def __init__(self, layer: Layer, tables: Tables) -> None:
        """Read the tables of a layer from those of a model.

        Raises:
            BadModel: a table is missing, or does not fit the layer.
        """
        self.layer = layer
        names = [lookup.table for lookup in layer.lookups]
        self._compressed = layer.diagonal > 0 and coarse(names[0]) in tables
        if self._compressed:
            rows = _count_rows(tables, coarse(names[0]))
            self._step = layer.step(rows) // 2
            fine = int(diagonal_rows(self._step, layer.diagonal).sum())
            parts = [[(it, fine) for it in names], [(coarse(it), rows) for it in names]]
        else:
            rows = _count_rows(tables, names[0])
            self._step = layer.step(rows)
            parts = [[(it, rows) for it in names]]
        stacks = [[take(tables, *it, layer.values) for it in part] for part in parts]
        self._tables = np.concatenate([np.stack(stack) for stack in stacks], axis=1)
        if self._tables.dtype != np.int8:
            raise BadModel(f"the table {names[0]} is not of int8")

    def __call__(self, maps: Maps) -> Maps:
        """Compute maps (M, scale * H, scale * W) from those that the layer reads (C, H, W)."""
        layer, reach = self.layer, self.layer.reach
        height, width = maps.shape[1:]
        padded = np.pad(maps, ((0, 0), (reach, reach), (reach, reach)), layer.padding)
        row, plane = padded.shape[2], padded.shape[1] * padded.shape[2]
        geometry = layer.geometry(self._step, row, plane, compressed=self._compressed)
        finish = Finish(
            layer.scale,
            float(layer.denominator) * kernels.weight_of(geometry),
            float(layer.bias),
            layer.residual,
            layer.squashed,
        )
        shape = layer.maps, height * layer.scale, width * layer.scale
        out = np.empty(shape, np.uint8)
        origin = reach * row + reach
        kernels.look_up(padded.ravel(), row, origin, geometry, self._tables, finish, out)
        return out


def build(description: Description, tables: Tables) -> Model:
    """Make a model of a description and int8 tables.

    Raises:
        BadModel: a table is missing, or does not fit.
    """
    stages = [Stage(layer, tables) for layer in description.layers]

    def run(image: Maps) -> Maps:
        maps = list(image)
        for stage in stages:
            maps.extend(stage(np.stack([maps[it] for it in stage.layer.reads])))
        return np.stack(maps[-description.channels :])

    return Model(description.scale, description.reach, run, description.channels)


def coarse(table: str) -> str:
    """Return the name of the table that is read far from the diagonal."""
    return f"coarse_{table}"


def take(tables: Tables, name: str, *shape: int) -> NDArray[Any]:
    """Return a table of a shape.

    Raises:
        BadModel: it is missing, or has another shape.
    """
    table = tables.get(name)
    if table is None:
        raise BadModel(f"the table {name} is missing")
    if table.shape != shape:
        raise BadModel(f"the table {name} has shape {table.shape}, expected {shape}")
    return table


def _count_rows(tables: Tables, name: str) -> int:
    if name not in tables:
        raise BadModel(f"the table {name} is missing")
    return len(tables[name])
