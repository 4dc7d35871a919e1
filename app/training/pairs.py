"""Pairs of photographs: before, and as an expert made it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from app.errors import BadParameter
from app.training.photos import photo_files


class Pair(NamedTuple):
    """Two files of the same picture, pixel upon pixel."""

    name: str
    input: Path
    target: Path


def find_pairs(folder: Path, part: str) -> list[Pair]:
    """Finds the pairs of a folder.

    They lie in `input_PART/` and `target_PART/`, or for want of these in `input/` and `target/`,
    under the same names but for the suffix; or side by side as `NAME-input.*` and `NAME-*.*`.

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
