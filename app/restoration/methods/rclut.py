"""RC-LUT (ICCV 2023): wide neighbourhoods by sums of one-dimensional tables.

No tables are published, and the published code is not the network of the paper. What is taken from
the paper: a branch for each side n of 3, 5 and 7, with a table for each of the n * n pixels; its
mean goes through tanh and is rounded, and a table of 2 x 2 pixels follows. Assumed here: that
entries are 1/127, and that the branches are averaged.
"""

from __future__ import annotations

import numpy as np

from app.errors import BadModel
from app.restoration import kernels
from app.restoration.engine import PATTERNS, ROTATIONS, Group, Maps, Model, Stage, grid_levels
from app.restoration.methods.base import Hparams, Tables, take

SIDES = (3, 5, 7)
_LEVELS = 256
_HALF = 127


def build(tables: Tables, hparams: Hparams) -> Model:
    """Build the model from `sumN` (N * N * 256, 1) and `outN_s` (17 ** 4, scale ** 2), int8.

    Args:
        tables: for N of `SIDES`; the pixels of a neighbourhood are in rows.
        hparams: `scale`.

    Raises:
        BadModel: a table is missing, or its shape does not fit.
    """
    scale = int(hparams["scale"])
    if scale < 1:
        raise BadModel(f"a scale of {scale}")
    sums = [take(tables, f"sum{side}", side**2 * _LEVELS, 1) for side in SIDES]
    groups = tuple(
        Group(
            tuple(tap._replace(channel=number) for tap in PATTERNS["s"]),
            take(tables, f"out{side}_s", grid_levels(16) ** 4, scale**2),
        )
        for number, side in enumerate(SIDES)
    )
    last = Stage(groups, float(len(ROTATIONS) * len(SIDES)), _HALF, scale=scale)

    def run(maps: Maps) -> Maps:
        pairs = zip(SIDES, sums, strict=True)
        return last(np.stack([_sum_neighbours(maps[0], side, table) for side, table in pairs]))

    return Model(scale, max(SIDES) // 2 + last.reach, run)


def _sum_neighbours(plane: Maps, side: int, table: np.ndarray) -> Maps:
    """Return 127 + 127 tanh of the mean entry of the side x side pixels around each."""
    padded = np.pad(plane, side // 2, "edge").astype(np.int32)[None]
    taps = np.array([(0, dy, dx) for dy in range(side) for dx in range(side)])
    out = np.zeros((1, *plane.shape), np.int32)
    kernels.sum_of_tables(padded, taps, np.arange(len(taps)) * _LEVELS, table, out)
    mean = np.tanh(out[0] / (side**2 * _HALF))
    rounded: Maps = (np.rint(_HALF * mean) + _HALF).astype(np.uint8)
    return rounded
