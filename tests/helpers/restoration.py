"""Small restoration models: their tables are empty, so they repeat pixels."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from app.policies import STORE
from app.restoration.published_files import Imported, Tensors
from app.restoration.store import write_restorer

CREDIT = {"licence": "CC0-1.0", "source": "a test"}


def repeating(scale: int) -> Imported:
    """Return a model of one stage that repeats each pixel."""
    table = np.zeros((9**4, scale**2), np.int8)
    hparams = {"denominators": [4.0], "biases": [0.0], "residual": True}
    return Imported("mulut", {"stage1_s": table}, hparams)


def resampling() -> Imported:
    """Return a resampler whose kernels are all alike."""
    rows = 17**4
    tables: Tensors = {}
    for pattern in "scx":
        # Of the first stage, the quarter of a level: twelve look-ups, divided by three.
        levels = np.arange(17).repeat(17**3)[:, None] * 4
        tables[f"sharpen_{pattern}"] = levels.clip(0, 64).astype(np.int8)
        for turn in (0, 1):
            tables[f"shapes_{pattern}_{turn}"] = np.full((rows, 3), 0, np.int8)
    return Imported("lerf-g", tables, {})


def make_store(folder: Path, *scales: int | None) -> Path:
    """Write a store with the default model, and one `tiny-N` of each scale; None is any scale."""
    shutil.copytree(STORE / "default", folder / "default")
    for scale in scales:
        imported = resampling() if scale is None else repeating(scale)
        write_restorer(folder, imported, name=f"tiny-{scale or 'any'}", **CREDIT)
    return folder


def cleaning() -> Imported:
    """Return a cleaner that darkens luma by 9, 5 and 3 levels for the qualities, by 2 for noise."""
    levels = {"jpeg30": -9, "jpeg50": -5, "jpeg70": -3, "noise": -2}
    tables: Tensors = {
        f"{knot}_stage1_s": np.full((9**4, 1), level, np.int8) for knot, level in levels.items()
    }
    hparams = {"denominators": [4.0], "biases": [0.0], "residual": True}
    return Imported("cleaner", tables, hparams)
