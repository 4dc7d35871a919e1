"""Photographs and pairs of photographs in folders."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor

from app.errors import BadParameter
from app.imaging.decode import decode
from app.imaging.probe import probe
from app.policies import Limits

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})
_NOT_FREE = ("unsplash", "middlebury", "not stated")

Row = dict[str, str]
T = TypeVar("T")


class PhotosConfig(BaseModel):
    """The photographs of a run.

    Attributes:
        folder: where they lie.
        inventory: tab-separated text with a header and the columns `file`, `package`, `licence`,
            `grade` and `stylised`; photographs that it does not list, or whose licence is not
            free, are left out. None takes the whole folder.
        held_out: one in so many good photographs is held out, chosen by the hash of its name:
            the same ones whatever else is in the folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    inventory: Path | None = None
    held_out: PositiveInt = Field(default=8, ge=2)


class Photos:
    """The photographs of a run. Good ones are of grade A and not stylised.

    Attributes:
        train: files to train on.
        finished: those of them that are not stylised, whatever their grade.
        held_out: good files that are not trained on.
        credits: file, package, path in it and licence of each of `train`, where known.
    """

    def __init__(self, config: PhotosConfig) -> None:
        """Read the inventory; raise BadParameter if there are too few, or it cannot be read."""
        rows = {name: row for name, row in _inventory(config).items() if _is_free(row)}
        good = [name for name, row in rows.items() if _is_good(row)]
        held_out = [name for name in good if is_held_out(name, config.held_out)]
        self.train = [config.folder / name for name in rows if name not in set(held_out)]
        self.finished = [path for path in self.train if not rows[path.name].get("stylised")]
        self.held_out = [config.folder / name for name in held_out]
        if not (self.finished and self.held_out):
            raise BadParameter(f"{config.folder}: too few photographs to hold some out")
        self.credits = [_credit(path.name, rows[path.name]) for path in self.train]


def is_held_out(name: str, one_in: int) -> bool:
    """Decide by the hash of a file's name whether the file is held out of training."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % one_in == 0


def good_photos(folder: Path, inventory: Path | None, *, held_out: bool = False) -> list[Path]:
    """Find the photographs of a folder that an inventory lists as good, or else all of them.

    Args:
        folder: where they lie.
        inventory: see `PhotosConfig`.
        held_out: whether to return only those that a distillation holds out by default.

    Raises:
        BadParameter: there are none, or the inventory cannot be read.
    """
    config = PhotosConfig(folder=folder, inventory=inventory)
    good = [name for name, row in _inventory(config).items() if _is_good(row)]
    if held_out:
        good = [name for name in good if is_held_out(name, config.held_out)]
    if not good:
        raise BadParameter(f"{folder}: no good photographs here")
    return [folder / name for name in good]


def photo_files(folder: Path) -> list[Path]:
    """Find the photographs in a folder, sorted by name.

    Raises:
        BadParameter: there are none.
    """
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in _SUFFIXES)
    if not files:
        raise BadParameter(f"{folder}: no photographs (JPEG, PNG or TIFF) here")
    return files


def spread(items: Sequence[T], most: int) -> Sequence[T]:
    """Return at most so many of the items, evenly spread."""
    return items[:: -(-len(items) // most)]


def read_photo(path: Path) -> NDArray[np.uint8]:
    """Read a photograph upright in sRGB: (H, W, 3); 16 bits are rounded to 8.

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
    """Transpose (H, W, 3) to uint8 (3, H, W)."""
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


class Pair(NamedTuple):
    """Two files of the same image, pixel upon pixel."""

    name: str
    input: Path
    target: Path


def find_pairs(folder: Path, part: str) -> list[Pair]:
    """Find the pairs of a folder.

    They lie in `input_PART/` and `target_PART/`, or if these are missing in `input/` and
    `target/`, under the same names but for the suffix; or side by side as `NAME-input.*` and
    `NAME-*.*`.

    Args:
        folder: the data set.
        part: "train" or "test".

    Raises:
        BadParameter: there are none, or one has no partner.
    """
    for ending in (f"_{part}", ""):
        inputs = folder / f"input{ending}"
        if inputs.is_dir():
            targets = {path.stem: path for path in photo_files(folder / f"target{ending}")}
            return [_pair(path.stem, path, targets.get(path.stem)) for path in photo_files(inputs)]
    return _side_by_side(folder)


def _side_by_side(folder: Path) -> list[Pair]:
    files = photo_files(folder)
    pairs = []
    for path in files:
        name, _, kind = path.stem.partition("-")
        if kind == "input":
            partners = (it for it in files if it != path and it.stem.startswith(f"{name}-"))
            pairs.append(_pair(name, path, next(partners, None)))
    if not pairs:
        raise BadParameter(f"{folder}: no pairs: neither input*/ and target*/ nor NAME-input.*")
    return pairs


def _pair(name: str, before: Path, after: Path | None) -> Pair:
    if after is None:
        raise BadParameter(f"{before}: has no target")
    return Pair(name, before, after)


def _is_good(row: Row) -> bool:
    return row.get("grade", "A") == "A" and not row.get("stylised")


def _is_free(row: Row) -> bool:
    licence = row.get("licence", "").lower()
    return not any(words in licence for words in _NOT_FREE)


def _credit(name: str, row: Row) -> dict[str, str]:
    """List the entries of the inventory, and the author whom a name `TITLE_by_NAME` states."""
    columns = ("package", "path in package", "licence", "author")
    credit = {"file": name} | {key: row[key] for key in columns if row.get(key)}
    _, _, author = Path(row.get("path in package", "")).stem.partition("_by_")
    if author:
        credit.setdefault("author", author.replace("_", " "))
    return credit


def _inventory(config: PhotosConfig) -> dict[str, Row]:
    if config.inventory is None:
        return {path.name: {} for path in photo_files(config.folder)}
    try:
        with config.inventory.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        if rows and not {"file", "licence", "grade", "stylised"} <= rows[0].keys():
            raise BadParameter(
                f"{config.inventory}: lacks one of the columns file, licence, grade, stylised"
            )
        return {row["file"]: row for row in sorted(rows, key=lambda row: row["file"])}
    except OSError as error:
        raise BadParameter(f"{config.inventory}: cannot be read ({error.strerror})") from error


def save_whole(path: Path, value: Any) -> None:
    """Write tensors with torch, all at once: an interruption leaves no half of the file."""
    with NamedTemporaryFile(dir=path.parent, delete=False) as file:
        torch.save(value, file)
    Path(file.name).replace(path)


def draw(count: int, size: int, seed: int, step: int) -> list[int]:
    """Draw `size` of `count` items for a step: each once an epoch, in a new order."""
    start = step * size
    epochs = range(start // count, (start + size - 1) // count + 1)
    orders = [np.random.default_rng([seed, epoch]).permutation(count) for epoch in epochs]
    picked: list[int] = np.concatenate(orders)[start % count :][:size].tolist()
    return picked
