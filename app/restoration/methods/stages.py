"""SR-LUT, MuLUT and models trained here: chains of interpolated stages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.errors import BadModel
from app.restoration.engine import MAX_TAPS, PATTERNS, Group, Model, Stage, chain, grid_levels
from app.restoration.methods.base import Hparams, Imported, Tables, read_table

_MULUT = re.compile(r"LUT_.*_s(?P<stage>\d)_(?P<pattern>[sdy])\.npy")
_SRLUT = re.compile(r"Model_(?P<pattern>S)_x\d_4bit_int8\.npy")
_STEP = 16  # of compressed tables
_STEPS = {grid_levels(step) ** 4: step for step in (16, 32, 64)}


def build(tables: Tables, hparams: Hparams) -> Model:
    """Build a chain of stages from the tables `stageN_PATTERN`.

    Args:
        tables: int8 (L ** 4, V).
        hparams: `denominators` and `biases` of the stages, `padding`, and `residual`. With
            `diagonal`, the tables are compressed as by DFC: `stageN_PATTERN` holds the entries
            of `diagonal_rows`, and `coarse_stageN_PATTERN` a grid of twice the step.

    Raises:
        BadModel: a table is missing, or its shape does not fit.
    """
    denominators, biases = hparams["denominators"], hparams["biases"]
    diagonal = int(hparams.get("diagonal", 0))
    stages = []
    try:
        for number, (denominator, bias) in enumerate(zip(denominators, biases, strict=True), 1):
            named = {
                name.removeprefix(f"stage{number}_"): table
                for name, table in tables.items()
                if name.startswith(f"stage{number}_")
            }
            if diagonal:
                named = {name: expand_diagonal(table, diagonal) for name, table in named.items()}
            entries, values = next(iter(named.values())).shape
            coarse = (tables.get(f"coarse_stage{number}_{name}") for name in named)
            stage = Stage(
                tuple(
                    Group(PATTERNS[name], table, coarse=other)
                    for (name, table), other in zip(named.items(), coarse, strict=True)
                ),
                denominator=denominator,
                bias=bias,
                scale=round(values**0.5),
                step=_STEPS[entries],
                padding=hparams.get("padding", "edge"),
                residual=bool(hparams.get("residual", False)),
                diagonal=diagonal,
            )
            stages.append(stage)
    except (StopIteration, KeyError, ValueError) as error:
        raise BadModel(f"the tables of stage {len(stages) + 1} do not fit: {error}") from error
    return chain(stages)


def diagonal_rows(diagonal: int) -> NDArray[np.bool]:
    """Return which entries of 17 ** 4 are corners of pixels within `diagonal` levels."""
    grid = np.stack(np.meshgrid(*[np.arange(grid_levels(_STEP))] * MAX_TAPS, indexing="ij"))
    distances = np.abs(grid - grid[0]).max(0)
    rows: NDArray[np.bool] = (distances <= diagonal // _STEP + 1).ravel()
    return rows


def expand_diagonal(table: NDArray[np.int8], diagonal: int) -> NDArray[np.int8]:
    """Return all 17 ** 4 entries of a table that holds those of `diagonal_rows`.

    Raises:
        ValueError: it holds another number.
    """
    rows = diagonal_rows(diagonal)
    whole = np.zeros((len(rows), table.shape[1]), np.int8)
    whole[rows] = table
    return whole


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
