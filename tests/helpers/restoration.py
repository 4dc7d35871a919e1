"""Small restoration models: their tables are empty, so they repeat pixels."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.policies import STORE
from app.restoration.descriptions import describe_dnlut
from app.restoration.published_files import Imported, Tensors
from app.restoration.store import write_restorer
from app.training.restoration.tables import start_grid

# Hparams, channels and grids of the methods without published tables.
UNPUBLISHED: dict[str, tuple[dict[str, Any], int, list[tuple[int, ...]]]] = {
    "spf-lut": ({}, 1, [(64,), (32,)]),
    "spf-lut with DFC": ({"diagonal": 32}, 1, [(32,), (32, 16, 16, 32, 16, 16)]),
    "dnlut": ({}, 3, [(64,), (32,)]),
    "rc-lut": ({}, 1, [(1, 1, 1, 64), (1, 1, 1, 32)]),
    "ec-lut": ({"unit": 0.25}, 1, [(64,), (32,)]),
}

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


def denoising(change: int) -> Imported:
    """Return DnLUT with tables that change each channel by so many levels."""
    description = describe_dnlut({})
    tables: Tensors = {}
    for layer in description.layers:
        for lookup in layer.lookups:
            tables[lookup.table] = np.rint(start_grid(layer, 16)).astype(np.int8)
    tables["v5"] = (tables["v5"] + change // 4).clip(-128, 127).astype(np.int8)  # of 4 look-ups
    return Imported("dnlut", tables, {})


def cleaning(planes: str = "luma") -> Imported:
    """Return a cleaner that takes 9, 5 and 3 levels off for the qualities, and 2 for noise."""
    levels = {"jpeg30": -9, "jpeg50": -5, "jpeg70": -3, "noise": -2}
    tables: Tensors = {
        f"{knot}_stage1_s": np.full((9**4, 1), level, np.int8) for knot, level in levels.items()
    }
    hparams = {"denominators": [4.0], "biases": [0.0], "residual": True, "planes": planes}
    return Imported("cleaner", tables, hparams)


def random_maps(
    side: int = 12, count: int = 1, seed: int = 0, channels: int = 1
) -> NDArray[np.uint8]:
    """Return images without order."""
    shape = count, channels, side, side
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def to_image(values: NDArray[np.float32], scale: int) -> NDArray[np.uint8]:
    """Round results (C, 1, h, w, scale ** 2) to an image (C, scale * h, scale * w)."""
    channels, _, height, width, _ = values.shape
    blocks = values.reshape(channels, height, width, scale, scale).transpose(0, 1, 3, 2, 4)
    image = blocks.reshape(channels, scale * height, scale * width)
    return np.rint(image.clip(0, 255)).astype(np.uint8)
