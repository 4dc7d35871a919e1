"""The state of a run on disk: the initial weights, checkpoints, and the model made of them."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.polynomial import legendre
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from app.errors import BadModel
from app.networks.base import Network, ThumbnailRecipe
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


def new_network(
    n: int, s: int | None, w: int | None, d: int, seed: int, colours: int = 0
) -> ClutNet:
    """Make a CLUT-Net to be trained.

    M_s and M_w are Legendre polynomials of low order: a table spanned by them has no bands, while
    random matrices make rough tables, which no training smooths where photographs have few
    colours. psi is zero: the first tables are the identity.
    """
    torch.manual_seed(seed)
    network = ClutNet(n, s, w, d, colours)
    with torch.no_grad():
        if network.strong is not None:
            network.strong.copy_(curves(d, network.strong.shape[1]))
        if network.weak is not None:
            network.weak.copy_(surfaces(d, network.weak.shape[0]))
    return network


@torch.no_grad()
def start_from(network: ClutNet, other: Network) -> None:
    """Copy the weights of another CLUT-Net of the same N, S and W.

    If that has no features of the colours, theirs stay as they are and have no effect at first.
    """
    state, own = other.state_dict(), network.state_dict()
    columns = state["head.0.weight"].shape[1]
    own["head.0.weight"][:, columns:] = 0.0
    own["head.0.weight"][:, :columns] = state.pop("head.0.weight")
    network.load_state_dict(own | state)


def curves(size: int, count: int) -> Tensor:
    """Compute the first `count` polynomials over an axis of `size` points: (size, count)."""
    return torch.from_numpy(legendre.legvander(np.linspace(-1.0, 1.0, size), count - 1))


def surfaces(size: int, count: int) -> Tensor:
    """Compute the first `count` products P_i(x) P_j(y), i + j rising: (count, size^2)."""
    polynomials = curves(size, count).T
    orders = sorted(np.ndindex(count, count), key=sum)[:count]
    return torch.stack([torch.outer(polynomials[i], polynomials[j]).flatten() for i, j in orders])
