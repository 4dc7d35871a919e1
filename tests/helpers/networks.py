"""Networks small enough for fast tests, and stores of them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from app.networks import ARCHITECTURES
from app.networks.base import Network, ThumbnailRecipe
from app.networks.clutnet import ClutNet
from app.networks.store import ModelCard, write_model

SMALL = {
    "clutnet": {"n": 2, "s": 2, "w": 3, "d": 5, "colours": 3},
    "ia3dlut": {"n": 2, "d": 5},
    "adaint": {"n": 2, "d": 5},
    "seplut": {"m": 2, "n": 2, "c": 5, "d": 5},
    "svdlut": {"r": 2, "k": 2, "v": 3, "d": 5},
    "lutwithbgrid": {"r": 2, "v": 3, "g": 2, "d": 5},
    "slut": {"t": 2, "m": 3, "s": 2, "w": 3, "d": 5, "colours": 3, "levels": 2, "width": 4},
    "gated_slut": {"n": 2, "t": 2, "m": 2, "s": 2, "w": 3, "d": 5, "levels": 2, "width": 4},
    "lut4d": {"n": 2, "s": 2, "w": 3, "d": 5, "levels": 2, "width": 4},
}
LOCAL = ("slut", "lut4d", "gated_slut")
GLOBAL = [architecture for architecture in SMALL if architecture not in LOCAL]


def make_network(architecture: str = "clutnet") -> Network:
    """Make a network small enough for fast tests."""
    torch.manual_seed(0)
    network = ARCHITECTURES[architecture](**SMALL[architecture]).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network


def write_network(root: Path, network: Network, name: str = "a") -> ModelCard:
    """Write a network to a store as the next version of a name."""
    recipe = ThumbnailRecipe(antialias=True)
    return write_model(root, network, name=name, licence="CC0-1.0", source="us", thumbnail=recipe)


def write_other(store: Path) -> None:
    """Write the next version of the model `other` to a store."""
    write_network(store, make_network(), "other")


def make_clutnet(s: int | None, w: int | None) -> ClutNet:
    """Make a network of one of the four forms, with random weights."""
    torch.manual_seed(0)
    network = ClutNet(n=4, s=s, w=w, d=9).eval().requires_grad_(requires_grad=False)
    for parameter in (network.psi, network.strong, network.weak):
        if parameter is not None:
            nn.init.normal_(parameter, std=0.1)
    return network


def to_published(network: ClutNet) -> dict[str, torch.Tensor]:
    """Return the state dict that the authors' code would store."""
    n, s, w, d = network.n, network.s, network.w, network.d
    state = {f"backbone.model.{name}": value for name, value in network.trunk.state_dict().items()}
    state |= {
        "classifier.0.weight": network.head[0].weight[:, :, None, None],
        "classifier.0.bias": network.head[0].bias,
        "classifier.3.weight": network.head[2].weight[:, :, None, None],
        "classifier.3.bias": network.head[2].bias,
    }
    if network.strong is not None:
        state["CLUTs.s_Layers"] = network.strong
    if network.weak is not None:
        state["CLUTs.w_Layers"] = network.weak
    if s and w:
        state["CLUTs.LUTs"] = network.psi.reshape(s * n * 3, w)
    elif s:
        state["CLUTs.LUTs"] = network.psi.reshape(s, n * 3 * d * d)
    elif w:
        state["CLUTs.LUTs"] = network.psi.permute(1, 2, 0, 3).reshape(n * 3 * d, w)
    else:
        state["CLUTs.LUTs"] = network.basis()
    return state
