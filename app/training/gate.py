"""Fitting the gate between a global and a local network that are trained already."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from app.errors import BadModel
from app.networks.base import Network
from app.networks.clutnet import ClutNet
from app.networks.gated import GatedSlut
from app.networks.lut_ops import apply_local
from app.networks.slut import Slut
from app.networks.store import ModelCard, read_model, write_model
from app.training.config import NetworkConfig
from app.training.data import Photos
from app.training.dataset import Batch
from app.training.distil import DistilConfig, make_dataset
from app.training.ensemble import Teachers

_ROUNDS, _RATE, _DECAY = 1500, 5e-3, 0.1
_RECIPE = {"name", "licence", "seed", "batch", "colours", "smallest_view", "mixture", "schedule"}
_LEAST = 1e-5  # mean square error: 50 dB are good enough


class GateConfig(DistilConfig):
    """The fit of a gate; its network, losses and teachers have no part in it.

    Attributes:
        overall: folder of the global model, as model_store/NAME/VERSION.
        local: folder of the local model.
    """

    overall: Path
    local: Path
    network: NetworkConfig = NetworkConfig()


def fit_gate(config: GateConfig) -> ModelCard:
    """Join two networks by a gate, and write the result to the model store in half precision.

    The gate has the least mean logarithm of the square error, which is the best mean PSNR, over
    `schedule.steps` batches of the mixture.

    Raises:
        BadModel: the models have other architectures or sizes.
        Problem: a model or a photograph cannot be read.
    """
    overall, local = read_model(config.overall), read_model(config.local)
    network = _join(overall.network, local.network)
    photos, teachers = Photos(config.photos), Teachers(config.teachers)
    dataset = make_dataset(config, photos, teachers, config.run)
    torch.manual_seed(config.seed)
    found = [_measure(network, dataset.batch(step)) for step in range(config.schedule.steps)]
    _fit(network, *map(torch.cat, zip(*found, strict=True)))
    cards = [overall.card, local.card]
    return write_model(
        config.store,
        network.half(),
        name=config.name,
        licence=config.licence,
        source="; ".join(f"{card.model_ref}: {card.source}" for card in cards),
        thumbnail=config.thumbnail,
        training={
            "command": "clut-enhance gate",
            "recipe": config.model_dump(mode="json", include=_RECIPE),
            "joined": {card.model_ref: card.sha256 for card in cards},
            "photos": photos.credits,
        },
    )


def _join(overall: Network, local: Network) -> GatedSlut:
    if not isinstance(overall, ClutNet) or not isinstance(local, Slut):
        raise BadModel("a gate joins a clutnet and an slut")
    sizes = local.hparams | {"n": overall.n, "restraint": overall.hparams.get("restraint", 0.0)}
    network = GatedSlut(**sizes)  # type: ignore[arg-type]
    try:
        network.overall.load_state_dict(overall.state_dict())
    except RuntimeError as error:
        raise BadModel(f"both networks must have the same sizes ({error})") from error
    network.local.load_state_dict(local.state_dict())
    return network.eval().requires_grad_(requires_grad=False)


def _measure(network: GatedSlut, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the inputs (B, F) of the gate, and the square errors as polynomials (B, 3) of it."""
    overall, local, inputs = network.parts(network.features(batch.thumbnails))
    gate = torch.ones(len(inputs), 1)
    closed, opened = (
        apply_local(
            network.decode(network.blend(overall, local, it)), batch.colours, batch.places
        ).clamp(0.0, 1.0)
        for it in (gate - 1.0, gate)
    )
    error, change = closed - batch.targets, opened - closed
    terms = (error.square(), 2.0 * error * change, change.square())
    return inputs, torch.stack([it.mean(dim=(1, 2)) for it in terms], dim=1)


def _fit(network: GatedSlut, inputs: Tensor, errors: Tensor) -> None:
    """Fit the gate by gradient descent on normalised inputs, and fold the norms into it."""
    mean, deviation = inputs.mean(dim=0), inputs.std(dim=0) + 1e-6
    linear = torch.nn.Linear(inputs.shape[1], 1)
    optimiser = torch.optim.AdamW(linear.parameters(), lr=_RATE, weight_decay=_DECAY)
    for _ in range(_ROUNDS):
        gate = torch.sigmoid(linear((inputs - mean) / deviation))
        powers = torch.cat((torch.ones_like(gate), gate, gate.square()), dim=1)
        loss = (errors * powers).sum(dim=1).clamp(min=_LEAST).log().mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    with torch.no_grad():
        network.gate.weight.copy_(linear.weight / deviation)
        network.gate.bias.copy_(linear.bias - (linear.weight / deviation) @ mean)
