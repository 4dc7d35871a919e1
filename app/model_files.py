"""The folders of the model store, whatever kind of model they hold: `NAME/VERSION/`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Literal

Kind = Literal["look", "restore"]

CARD, WEIGHTS = "card.json", "weights.safetensors"


def model_folders(root: Path, kind: Kind) -> list[Path]:
    """Return the folders NAME/VERSION of a store whose models are of a kind.

    A card without a kind, or none that can be read, is of a look.
    """
    # Folders that begin with a dot are imports in progress, or left by interrupted ones.
    folders = sorted(path for path in root.glob("[!.]*/[!.]*") if path.is_dir())
    return [folder for folder in folders if _kind_of(folder) == kind]


def next_version(folder: Path) -> int:
    """Return the version after the highest in the folder of a name."""
    taken = [int(path.name) for path in folder.glob("*") if path.name.isdecimal()]
    return max(taken, default=0) + 1


def write_model_files(folder: Path, weights: bytes, card: str) -> None:
    """Write the folder NAME/VERSION of a model, atomically."""
    root = folder.parent.parent
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".new-") as scratch:
        new = Path(scratch) / "model"
        new.mkdir()
        (new / WEIGHTS).write_bytes(weights)
        (new / CARD).write_text(card + "\n", encoding="utf-8")
        new.rename(folder)


def _kind_of(folder: Path) -> Kind:
    try:
        card = json.loads((folder / CARD).read_bytes())
    except (OSError, ValueError):
        return "look"
    return "restore" if isinstance(card, dict) and card.get("kind") == "restore" else "look"
