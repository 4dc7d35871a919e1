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
from app.networks.slut import Slut
from app.networks.store import ModelCard, write_model
from app.training.config import NetworkConfig

_CHECKPOINT = "checkpoint.pt"
_DRAFT = "card-draft.json"
_SEPARATION, _PREFERENCE = 0.5, 2.0


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
    network = draft.network.build()
    network.load_state_dict(network.state_dict() | state["average"])  # which lacks the restraint
    smooth(network, draft.network.smoothing)
    network.set_restraint()
    return write_model(
        store,
        network,
        name=draft.name,
        licence=draft.licence,
        source=draft.source,
        thumbnail=draft.thumbnail,
        training=draft.training | {"figures": state["rows"][-1]},
    )


@torch.no_grad()
def smooth(network: ClutNet, share: float) -> None:
    """Smooth the columns of M_s and the surfaces of M_w, which all tables are made of.

    Each lattice point but the first and the last of an axis moves by twice the share towards the
    mean of its two neighbours. That keeps straight lines, and takes ripples of the period of two
    points away entirely at a share of 1/4.

    Raises:
        BadModel: an axis is not compressed, and so has no matrix.
    """
    if share == 0:
        return
    if network.strong is None or network.weak is None:
        raise BadModel("smoothing needs a network of which both axes are compressed")
    surfaces = network.weak.view(-1, network.d, network.d)
    for points in (network.strong, surfaces.movedim(1, 0), surfaces.movedim(2, 0)):
        points[1:-1] += share * (points[:-2] - 2 * points[1:-1] + points[2:])


def new_network(*, seed: int, **sizes: float | str | None) -> ClutNet:
    """Make a network to be trained, of the sizes of a `NetworkConfig`.

    M_s and M_w are Legendre polynomials of low order: a table spanned by them has no bands, while
    random matrices make rough tables, which no training smooths where photographs have few
    colours. psi is zero: the first tables are the identity. Those of a local network differ; see
    `separate_tables`.
    """
    torch.manual_seed(seed)
    network = NetworkConfig.model_validate(sizes | {"restraint": 0.0}).build()
    with torch.no_grad():
        if network.strong is not None:
            network.strong.copy_(curves(network.d, network.strong.shape[1]))
        if network.weak is not None:
            network.weak.copy_(surfaces(network.d, network.weak.shape[0]))
    if isinstance(network, Slut):
        separate_tables(network)
    return network


@torch.no_grad()
def start_from(network: ClutNet, other: Network) -> None:
    """Copy the weights of another network of the same S and W.

    A CLUT-Net has the same N, too. If it has no features of the colours, theirs stay as they are
    and have no effect at first. All tables of an sLUT start as the one table of a CLUT-Net, but
    for what `separate_tables` does; its weights beyond those of the CLUT-Net, and the map, are
    new. A 4D-LUT takes all of a CLUT-Net but the basis and the weights.
    """
    state, own = other.state_dict(), network.state_dict()
    state.pop("restraint", None)
    columns = state["head.0.weight"].shape[1]
    own["head.0.weight"][:, columns:] = 0.0
    own["head.0.weight"][:, :columns] = state.pop("head.0.weight")
    if isinstance(network, Slut) and not isinstance(other, Slut):
        _extend(state, own, network.m)
        network.load_state_dict(own | state)
        separate_tables(network)
    else:
        network.load_state_dict(own | state)


def _extend(state: dict[str, Tensor], own: dict[str, Tensor], tables: int) -> None:
    """Extend weights of a CLUT-Net to those of a local network, `own`, with M tables."""
    weights, psi = state.pop("head.2.weight"), state.pop("psi")
    bias = state.pop("head.2.bias")
    count = len(bias)
    if own["psi"].shape[1] < count * tables:  # the scenes of a 4D-LUT are others
        return
    own["head.2.weight"][:count], own["head.2.bias"][:count] = weights, bias
    own["psi"][:, : count * tables] = psi.repeat_interleave(tables, dim=1)


@torch.no_grad()
def separate_tables(network: Slut) -> None:
    """Let the last basis LUT brighten the tables, the first by nothing and the last by a half.

    Tables that are equal would learn the same, and the map nothing. The map starts with most of
    the first table.
    """
    shape = network.psi.shape
    exposure = _compress_exposure(network)
    factors = torch.linspace(0.0, _SEPARATION, network.m)
    last = factors[:, None, None, None] * exposure  # (M, 3, S, W)
    network.psi.view(shape[0], -1, network.m, *shape[2:])[:, -1] = last.permute(2, 0, 1, 3)
    own = network.state_dict()  # its tensors are those of the network
    own["shares.bias"][:] = 0.0
    own["shares.bias"][: network.levels] = _PREFERENCE  # logits of the first table
    scene = list(network.last_scene)
    own["head.2.weight"][scene], own["head.2.bias"][scene] = 0.0, 1.0


def _compress_exposure(network: Slut) -> Tensor:
    """Compress the table whose channels are those of the input: (3, S, W)."""
    ramp, ones = torch.linspace(0.0, 1.0, network.d)[:, None], torch.ones(1, network.d**2)
    if network.strong is not None:
        ramp = torch.linalg.lstsq(network.strong, ramp).solution  # (S, 1)
    if network.weak is not None:
        ones = torch.linalg.lstsq(network.weak.T, ones.T).solution.T  # (1, W)
    return (ramp @ ones).expand(3, -1, -1)


def curves(size: int, count: int) -> Tensor:
    """Compute the first `count` polynomials over an axis of `size` points: (size, count)."""
    return torch.from_numpy(legendre.legvander(np.linspace(-1.0, 1.0, size), count - 1))


def surfaces(size: int, count: int) -> Tensor:
    """Compute the first `count` products P_i(x) P_j(y), i + j rising: (count, size^2)."""
    polynomials = curves(size, count).T
    orders = sorted(np.ndindex(count, count), key=sum)[:count]
    return torch.stack([torch.outer(polynomials[i], polynomials[j]).flatten() for i, j in orders])
