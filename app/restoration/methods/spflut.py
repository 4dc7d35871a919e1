"""SPF-LUT (CVPR 2024): maps of four stages, merged by a table over channels.

No tables are published, so nothing is imported.
"""

from __future__ import annotations

import numpy as np

from app.errors import BadModel
from app.restoration.engine import PATTERNS, ROTATIONS, Group, Maps, Model, Stage, Tap, grid_levels
from app.restoration.methods.base import Hparams, Tables, take
from app.restoration.methods.stages import diagonal_rows, expand_diagonal

_PATTERNS = "sdy"
_KEPT = 4  # stages, each of which keeps a map
_ROWS, _COARSE_ROWS = grid_levels(16) ** 4, grid_levels(32) ** 4
_LOOKUPS = float(len(_PATTERNS) * len(ROTATIONS))


def build(tables: Tables, hparams: Hparams) -> Model:
    """Build the model from `stage1_s`..`stage4_y`, `merge` and `out0_s`..`out3_y`.

    Entries of the stages 1 to 3 hold two values: the first is kept, the second goes on.

    Args:
        tables: int8 (17 ** 4, V); V is 2, 1 in stage 4, 4 in `merge` and `scale` ** 2 at last.
        hparams: `scale`; with `diagonal`, all tables but `merge` are compressed as by DFC, and
            have a part `coarse_NAME`; see `stages.build`.

    Raises:
        BadModel: a table is missing, or its shape does not fit.
    """
    scale = int(hparams["scale"])
    if scale < 1:
        raise BadModel(f"a scale of {scale}")
    diagonal = int(hparams.get("diagonal", 0))
    stages = [
        Stage(
            _groups(tables, f"stage{n}", 2 if n < _KEPT else 1, 0, diagonal),
            _LOOKUPS,
            127,
            diagonal=diagonal,
        )
        for n in range(1, _KEPT + 1)
    ]
    channels = tuple(Tap(0, 0, channel) for channel in range(_KEPT))
    merge = Stage((Group(channels, take(tables, "merge", _ROWS, _KEPT), (0,)),), 1, 127)
    groups = (_groups(tables, f"out{c}", scale**2, c, diagonal) for c in range(_KEPT))
    last = Stage(sum(groups, ()), _LOOKUPS, scale=scale, diagonal=diagonal)

    def run(maps: Maps) -> Maps:
        kept = []
        for stage in stages:
            maps = stage(maps)
            kept.append(maps[:1])
            maps = maps[1:]
        return last(merge(np.concatenate(kept)))

    return Model(scale, sum(stage.reach for stage in (*stages, last)), run)


def _groups(
    tables: Tables, name: str, values: int, channel: int, diagonal: int
) -> tuple[Group, ...]:
    groups = []
    for pattern in _PATTERNS:
        taps = tuple(tap._replace(channel=channel) for tap in PATTERNS[pattern])
        key = f"{name}_{pattern}"
        if diagonal:
            rows = int(diagonal_rows(diagonal).sum())
            table = expand_diagonal(take(tables, key, rows, values), diagonal)
            coarse = take(tables, f"coarse_{key}", _COARSE_ROWS, values)
            groups.append(Group(taps, table, coarse=coarse))
        else:
            groups.append(Group(taps, take(tables, key, _ROWS, values)))
    return tuple(groups)
