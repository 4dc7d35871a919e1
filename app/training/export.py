"""From a checkpoint to a model of the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from app.errors import BadModel
from app.networks.base import ThumbnailRecipe
from app.networks.clutnet import ClutNet
from app.networks.store import ModelCard, write_model
from app.training.checkpoint import read_checkpoint
from app.training.config import NetworkConfig

_NAME = "label.json"


class Label(BaseModel):
    """What the model card will say that the weights do not: written before training starts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    licence: str
    source: str
    thumbnail: ThumbnailRecipe
    network: NetworkConfig
    training: dict[str, Any]

    def write(self, run: Path) -> None:
        """Puts it into the folder of a run."""
        run.mkdir(parents=True, exist_ok=True)
        (run / _NAME).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


def export(run: Path, store: Path) -> ModelCard:
    """Writes the network of a run's last checkpoint into a model store; the run may go on.

    Raises:
        BadModel: there is no checkpoint yet, or it cannot be read.
    """
    state = read_checkpoint(run)
    if state is None:
        raise BadModel(f"{run}: no checkpoint yet")
    label = Label.model_validate_json((run / _NAME).read_bytes())
    network = ClutNet(**label.network.model_dump())
    network.load_state_dict(state["average"])
    return write_model(
        store,
        network,
        name=label.name,
        licence=label.licence,
        source=label.source,
        thumbnail=label.thumbnail,
        training=label.training | {"figures": state["rows"][-1]},
    )
