"""The state of a run on disk."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from app.errors import BadModel

_NAME = "checkpoint.pt"


def write_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Replaces the checkpoint of a folder, at once: an interruption leaves the old one."""
    new = folder / f"{_NAME}.new"
    torch.save(state, new)
    new.replace(folder / _NAME)


def read_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Reads the checkpoint of a folder; None if there is none.

    Raises:
        BadModel: it cannot be read.
    """
    path = folder / _NAME
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except (OSError, RuntimeError, UnpicklingError) as error:
        raise BadModel(f"{path}: not a checkpoint that can be read ({error})") from error
    return state
