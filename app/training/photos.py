"""Photographs in folders, and what an inventory says about them."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, PositiveInt
from torch import Tensor

from app.errors import BadParameter
from app.imaging.decode import decode
from app.imaging.probe import probe
from app.policies import Limits

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})


class PhotosConfig(BaseModel):
    """Which photos to learn from.

    Attributes:
        folder: where they lie.
        inventory: tab-separated text with a header and the columns `file`, `licence`, `grade` and
            `stylised`: photos that it does not list are left out; None takes the whole folder.
        stylised: whether what the inventory calls stylised is learned from, too; it is never
            held out.
        held_out: how many are kept for validation, of grade A where there are grades.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    inventory: Path | None = None
    stylised: bool = False
    held_out: PositiveInt = 60


class Photos:
    """The photos of a run, split once and for all by the seed.

    Attributes:
        train, held_out: files.
        licences: how many photos there are under each licence.
    """

    def __init__(self, config: PhotosConfig, seed: int) -> None:
        """Raises BadParameter if there are too few photos, or the inventory cannot be read."""
        rows = _inventory(config)
        good = _good(rows)
        if len(good) < config.held_out or len(rows) == config.held_out:
            raise BadParameter(f"{config.folder}: too few photos to hold {config.held_out} out")
        rng = np.random.default_rng(seed)
        held_out = set(rng.choice(good, config.held_out, replace=False).tolist())
        if config.stylised:
            rows |= _inventory(config, stylised=True)
        self.train = [config.folder / name for name in sorted(rows) if name not in held_out]
        self.held_out = [config.folder / name for name in sorted(held_out)]
        self.licences = dict(Counter(row.get("licence", "unknown") for row in rows.values()))


def good_photos(folder: Path, inventory: Path | None) -> list[Path]:
    """The photographs of a folder that an inventory lists with grade A, or else all of them.

    Raises:
        BadParameter: there are none, or the inventory cannot be read.
    """
    rows = _inventory(PhotosConfig(folder=folder, inventory=inventory))
    return [folder / name for name in _good(rows)]


def photo_files(folder: Path) -> list[Path]:
    """The photographs in a folder, by name.

    Raises:
        BadParameter: there are none.
    """
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in _SUFFIXES)
    if not files:
        raise BadParameter(f"{folder}: no photographs (JPEG, PNG or TIFF) here")
    return files


def read_photo(path: Path) -> NDArray[np.uint8]:
    """Reads a photograph upright in sRGB: (H, W, 3); 16 bits are rounded to 8.

    Raises:
        BadParameter: it cannot be opened.
        Problem: it cannot be decoded; see `probe` and `decode`.
    """
    try:
        body = path.read_bytes()
    except OSError as error:
        raise BadParameter(f"{path}: cannot be read ({error.strerror})") from error
    pixels = decode(probe(body, Limits())).pixels
    steps = np.iinfo(pixels.dtype).max // 255
    return np.rint(pixels / steps).astype(np.uint8)


def as_planes(pixels: NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) -> uint8 (3, H, W)."""
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _good(rows: dict[str, dict[str, str]]) -> list[str]:
    return sorted(name for name, row in rows.items() if row.get("grade", "A") == "A")


def _inventory(config: PhotosConfig, *, stylised: bool = False) -> dict[str, dict[str, str]]:
    if config.inventory is None:
        return {path.name: {} for path in photo_files(config.folder)}
    try:
        with config.inventory.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        return {row["file"]: row for row in rows if bool(row["stylised"]) is stylised}
    except OSError as error:
        raise BadParameter(f"{config.inventory}: cannot be read ({error.strerror})") from error
    except KeyError as error:
        raise BadParameter(f"{config.inventory}: has no column {error}") from error
