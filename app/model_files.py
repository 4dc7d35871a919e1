"""The model store, for every kind of model: `NAME/VERSION/{weights.safetensors, card.json}`.

The cards of all kinds have a common part, and their files are read and checked alike.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import BadModel, describe_first
from app.regular_files import read_regular_file

Kind = Literal["look", "restore"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]

CARD, WEIGHTS = "card.json", "weights.safetensors"


class Card(BaseModel):
    """The common part of the cards of every kind of model.

    Attributes:
        format: version of the card format.
        name: under which requests select the model.
        version: the highest version is used under the name alone.
        sha256: of weights.safetensors, in hexadecimal.
        licence: SPDX identifier, or a description.
        source: origin of the weights, with the attribution that the licence requires.
        training: data, recipe and figures of a model that was trained here.
        figures: measured quality, by the measure.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    name: Name
    version: Annotated[int, Field(ge=1)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    licence: str
    source: str
    training: dict[str, Any] = {}
    figures: dict[str, dict[str, float]] = {}

    @property
    def model_ref(self) -> str:
        """NAME@VERSION."""
        return f"{self.name}@{self.version}"


C = TypeVar("C", bound=Card)


def read_model_files(folder: Path, kind: type[C]) -> tuple[C, bytes]:
    """Read the card and the weights of a model, and check one against the other.

    Raises:
        BadModel: a file is missing, damaged or does not match the card; the message names it.
    """
    path = folder / CARD
    try:
        card = kind.model_validate_json(read_regular_file(path))
        if [card.name, str(card.version)] != [folder.parent.name, folder.name]:
            expected = f"{card.name}/{card.version}"
            raise BadModel(f"{path}: the model belongs in the folder {expected}")
        path = folder / WEIGHTS
        weights = read_regular_file(path)
    except OSError as error:
        raise BadModel(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise BadModel(f"{path}: {describe_first(error)}") from error
    if hashlib.sha256(weights).hexdigest() != card.sha256:
        raise BadModel(f"{path}: the SHA-256 does not match the card")
    return card, weights


def model_folders(root: Path, kind: Kind) -> list[Path]:
    """Return the folders NAME/VERSION of a store whose models are of a kind.

    A card without a kind, or none that can be read, is of a look.
    """
    # Folders that begin with a dot are imports in progress, or left by interrupted ones.
    folders = [version for name in _folders_in(root) for version in _folders_in(name)]
    return [folder for folder in sorted(folders) if _kind_of(folder) == kind]


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


def _folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder; none if it is deleted while it is read."""
    try:
        return [it for it in folder.iterdir() if not it.name.startswith(".") and it.is_dir()]
    except OSError:
        return []


def _kind_of(folder: Path) -> Kind:
    try:
        card = json.loads(read_regular_file(folder / CARD))
    except (OSError, ValueError, RecursionError):
        return "look"
    return "restore" if isinstance(card, dict) and card.get("kind") == "restore" else "look"
