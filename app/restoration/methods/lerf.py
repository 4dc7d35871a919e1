"""LeRF-G (Li et al., CVPR 2023): resampling to any scale; see `app.restoration.resample`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from app.restoration.engine import PATTERNS, Group, Stage, grid_levels
from app.restoration.methods.base import Hparams, Imported, Tables, read_table, take
from app.restoration.resample import Resampler

_FILE = re.compile(r"LUTft_s(?P<stage>[12])_(?P<pattern>[sct])r(?P<turn>[01])\.npy")
_PATTERNS = {"s": "s", "c": "c", "t": "x"}  # by their names in the files
_SHAPES = 3  # values that determine a kernel
_ROWS = grid_levels(16) ** 4


def build(tables: Tables, _: Hparams) -> Resampler:
    """Build the resampler from the tables `sharpen_PATTERN` and `shapes_PATTERN_TURN`.

    Raises:
        BadModel: a table is missing, or its shape does not fit.
    """
    sharpen = tuple(
        Group(PATTERNS[pattern], take(tables, f"sharpen_{pattern}", _ROWS, 1))
        for pattern in _PATTERNS.values()
    )
    shapes = tuple(
        Group(
            PATTERNS[pattern],
            take(tables, f"shapes_{pattern}_{turn}", _ROWS, _SHAPES),
            rotations=(turn, turn + 2),
        )
        for pattern in _PATTERNS.values()
        for turn in (0, 1)
    )
    return Resampler(Stage(sharpen, denominator=3), Stage(shapes, denominator=12, bias=127))


def import_lerf(files: Sequence[Path]) -> Imported | None:
    """Read the nine tables LUTft_*.npy; None if these are other files."""
    matches = {path: match for path in files if (match := _FILE.fullmatch(path.name))}
    if len(matches) != len(files):
        return None
    tables: Tables = {}
    for path, it in matches.items():
        pattern = _PATTERNS[it["pattern"]]
        name = f"sharpen_{pattern}" if it["stage"] == "1" else f"shapes_{pattern}_{it['turn']}"
        tables[name] = read_table(path)
    return Imported("lerf-g", tables, {})
