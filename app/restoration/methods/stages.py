"""SR-LUT, MuLUT and models trained here: chains of interpolated stages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from app.errors import BadModel
from app.restoration.engine import PATTERNS, Group, Model, Stage, chain, grid_levels
from app.restoration.methods.base import Hparams, Imported, Tables, read_table

_MULUT = re.compile(r"LUT_.*_s(?P<stage>\d)_(?P<pattern>[sdy])\.npy")
_SRLUT = re.compile(r"Model_(?P<pattern>S)_x\d_4bit_int8\.npy")
_STEPS = {grid_levels(step) ** 4: step for step in (16, 32, 64)}


def build(tables: Tables, hparams: Hparams) -> Model:
    """Build a chain of stages from the tables `stageN_PATTERN`.

    Args:
        tables: int8 (L ** 4, V).
        hparams: `denominators` and `biases` of the stages, `padding`, and `residual`.

    Raises:
        BadModel: a table is missing, or its shape does not fit.
    """
    denominators, biases = hparams["denominators"], hparams["biases"]
    stages = []
    try:
        for number, (denominator, bias) in enumerate(zip(denominators, biases, strict=True), 1):
            named = {
                name.removeprefix(f"stage{number}_"): table
                for name, table in tables.items()
                if name.startswith(f"stage{number}_")
            }
            entries, values = next(iter(named.values())).shape
            stage = Stage(
                tuple(Group(PATTERNS[name], table) for name, table in named.items()),
                denominator=denominator,
                bias=bias,
                scale=round(values**0.5),
                step=_STEPS[entries],
                padding=hparams.get("padding", "edge"),
                residual=bool(hparams.get("residual", False)),
            )
            stages.append(stage)
    except (StopIteration, KeyError, ValueError) as error:
        raise BadModel(f"the tables of stage {len(stages) + 1} do not fit: {error}") from error
    return chain(stages)


def import_mulut(files: Sequence[Path]) -> Imported | None:
    """Read LUT_*_sN_PATTERN.npy; None if these are other files."""
    matches = {path: match for path in files if (match := _MULUT.fullmatch(path.name))}
    if len(matches) != len(files):
        return None
    tables = {f"stage{it['stage']}_{it['pattern']}": read_table(at) for at, it in matches.items()}
    count = max(int(it["stage"]) for it in matches.values())
    each = 4.0 * len(tables) / count  # rotations and patterns
    hparams: Hparams = {
        "denominators": [each] * (count - 1) + [each / 4],
        "biases": [127.0] * (count - 1) + [0.0],
    }
    return Imported("mulut", tables, hparams)


def import_srlut(files: Sequence[Path]) -> Imported | None:
    """Read Model_S_xN_4bit_int8.npy; None if this is another file."""
    if len(files) != 1 or not _SRLUT.fullmatch(files[0].name):
        return None
    table = read_table(files[0])
    hparams: Hparams = {"denominators": [1.0], "biases": [0.0], "padding": "reflect"}
    return Imported("sr-lut", {"stage1_s": table}, hparams)
