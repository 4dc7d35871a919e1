"""The state of a run on disk, and the model that is made of it."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from app.errors import BadModel
from app.networks.base import ThumbnailRecipe
from app.networks.clutnet import ClutNet
from app.networks.store import ModelCard, write_model
from app.training.config import NetworkConfig

_CHECKPOINT = "checkpoint.pt"
_DRAFT = "card-draft.json"


class CardDraft(BaseModel):
    """The part of the model card that is known before training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    licence: str
    source: str
    thumbnail: ThumbnailRecipe
    network: NetworkConfig
    training: dict[str, Any]

    def write(self, run: Path) -> None:
        """Write the draft into the folder of a run."""
        run.mkdir(parents=True, exist_ok=True)
        (run / _DRAFT).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


def write_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Replace the checkpoint of a folder, at once: an interruption leaves the old one."""
    new = folder / f"{_CHECKPOINT}.new"
    torch.save(state, new)
    new.replace(folder / _CHECKPOINT)


def read_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Read the checkpoint of a folder; None if there is none.

    Raises:
        BadModel: it cannot be read.
    """
    path = folder / _CHECKPOINT
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except (OSError, RuntimeError, UnpicklingError) as error:
        raise BadModel(f"{path}: not a checkpoint that can be read ({error})") from error
    return state


def export(run: Path, store: Path) -> ModelCard:
    """Write the network of a run's last checkpoint into a model store; the run may continue.

    Raises:
        BadModel: there is no checkpoint yet, or it cannot be read.
    """
    state = read_checkpoint(run)
    if state is None:
        raise BadModel(f"{run}: no checkpoint yet")
    draft = CardDraft.model_validate_json((run / _DRAFT).read_bytes())
    network = ClutNet(**draft.network.model_dump())
    network.load_state_dict(state["average"])
    return write_model(
        store,
        network,
        name=draft.name,
        licence=draft.licence,
        source=draft.source,
        thumbnail=draft.thumbnail,
        training=draft.training | {"figures": state["rows"][-1]},
    )
