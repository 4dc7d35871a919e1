"""DnLUT (CVPR 2025): noise of colour images, by pairs of channels and L-shaped tables.

The layers are M-V-V-V-Q-V-M-V. M mixes pairs of channels, V reads three pixels of one channel,
and Q merges the outputs of the three Vs before it. No tables are published, so nothing is imported.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from app.restoration.engine import PATTERNS, ROTATIONS, Group, Maps, Model, Stage, Tap, grid_levels
from app.restoration.methods.base import Hparams, Tables, take

_COLOURS = 3
_LEVELS = grid_levels(16)
_TURNS = float(len(ROTATIONS))
_AFTER = ("v1", "v2", "v3")  # whose outputs Q merges


def build(tables: Tables, _: Hparams) -> Model:
    """Build the model from int8 tables of a value in each entry.

    Args:
        tables: `m1_r`, `m1_g`, `m1_b`, and likewise `m2`, of 17 ** 4 entries; `v1`..`v5`, `q_r`,
            `q_g`, `q_b` of 17 ** 3.

    Raises:
        BadModel: a table is missing, or its shape does not fit.
    """
    first, second = (_mixers(tables, name) for name in ("m1", "m2"))
    curves = {name: _curve(tables, name, _TURNS, 127) for name in (*_AFTER, "v4")}
    curves["v5"] = _curve(tables, "v5", 1, 0)
    taps = tuple(Tap(0, 0, channel) for channel in range(len(_AFTER)))
    merges = [
        Stage((Group(taps, take(tables, f"q_{colour}", _LEVELS**3, 1), (0,)),), 1, 127)
        for colour in "rgb"
    ]

    def run(maps: Maps) -> Maps:
        maps = _concatenate(mixer(maps) for mixer in first)
        outputs = []
        for name in _AFTER:
            maps = _each(curves[name], maps)
            outputs.append(maps)
        stacked = np.stack(outputs, axis=1)  # (3 colours, 3 layers, H, W)
        maps = _concatenate(
            merge(np.ascontiguousarray(it)) for merge, it in zip(merges, stacked, strict=True)
        )
        maps = _each(curves["v4"], maps)
        maps = _concatenate(mixer(maps) for mixer in second)
        return _each(curves["v5"], maps)

    reach = sum(stage.reach for stage in (first[0], second[0], *curves.values()))
    return Model(1, reach, run, channels=_COLOURS)


def _mixers(tables: Tables, name: str) -> list[Stage]:
    """Return the stages that make red, green and blue of each channel and the one after it."""
    stages = []
    for number, colour in enumerate("rgb"):
        own, other = number, (number + 1) % _COLOURS
        taps = (Tap(0, 0, other), Tap(0, 1, other), Tap(0, 1, own), Tap(0, 0, own))
        group = Group(taps, take(tables, f"{name}_{colour}", _LEVELS**4, 1))
        stages.append(Stage((group,), _TURNS, 127))
    return stages


def _curve(tables: Tables, name: str, denominator: float, bias: float) -> Stage:
    group = Group(PATTERNS["v"], take(tables, name, _LEVELS**3, 1))
    return Stage((group,), denominator, bias)


def _each(stage: Stage, maps: Maps) -> Maps:
    return _concatenate(stage(maps[c : c + 1]) for c in range(len(maps)))


def _concatenate(parts: Iterable[Maps]) -> Maps:
    return np.concatenate(list(parts))
