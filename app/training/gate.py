"""Fitting the gate between a global and a local network that are trained already."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import torch
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR

from app.errors import BadModel
from app.networks.base import Network
from app.networks.clutnet import ClutNet
from app.networks.gated import Gate, GatedSlut
from app.networks.lut_ops import apply_local
from app.networks.slut import Slut
from app.networks.store import ModelCard, read_model, write_model
from app.training.config import NetworkConfig
from app.training.data import Photos, save_whole
from app.training.dataset import Batch
from app.training.distil import DistilConfig, make_dataset
from app.training.ensemble import Teachers

_BATCH, _RATE, _DECAY, _DROPOUT = 64, 2e-3, 0.05, 0.1
_SAMPLE = 1024  # examples of which the norms are taken
_MOST = 6.0  # dB: beyond, an example counts no more
_SHARPNESS = 10.0
_THRESHOLDS = [0.05 * step for step in range(-20, 81)]
_WORSE = 0.3  # dB that are seen
_SEEN = {"seed", "batch", "colours", "smallest_view", "mixture"}
_RECIPE = _SEEN | {"name", "licence", "schedule", "rounds", "losing"}
_LEAST = 1e-5  # mean square error: 50 dB are good enough


class GateConfig(DistilConfig):
    """The fit of a gate; its network, losses and teachers have no part in it.

    Attributes:
        overall: folder of the global model, as model_store/NAME/VERSION.
        local: folder of the local model, or of a joined one, whose local network is taken again.
        rounds: batches of the fit, of 64 examples.
        losing: share of the examples that may be worse by 0.3 dB than with the global network.
    """

    overall: Path
    local: Path
    rounds: PositiveInt = 600
    losing: float = Field(default=0.01, gt=0, lt=1)
    network: NetworkConfig = NetworkConfig()


def fit_gate(config: GateConfig) -> ModelCard:
    """Join two networks by a gate, and write the result to the model store in half precision.

    The gate learns from `schedule.steps` batches of the mixture how far it is best open. Where it
    is in doubt it stays shut, so that little is lost against the global network.

    Raises:
        BadModel: the models have other architectures or sizes.
        Problem: a model or a photograph cannot be read.
    """
    overall, local = read_model(config.overall), read_model(config.local)
    torch.manual_seed(config.seed)
    network = _join(overall.network, local.network)
    photos, cards = Photos(config.photos), [overall.card, local.card]
    found = _measure_all(network, config, photos, [card.sha256 for card in cards])
    inputs, errors = map(torch.cat, zip(*found, strict=True))
    _fit(network.gate, inputs, errors, config)
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
    if isinstance(local, GatedSlut):
        local = local.local
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


def _measure_all(
    network: GatedSlut, config: GateConfig, photos: Photos, models: list[str]
) -> list[tuple[Tensor, Tensor]]:
    """Measure all batches; those of an earlier run with the same networks are read."""
    seen = [*models, photos.credits, config.model_dump(mode="json", include=_SEEN)]
    folder = config.run / hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{step}.pt" for step in range(config.schedule.steps)]
    if not all(path.exists() for path in paths):
        dataset = make_dataset(config, photos, Teachers(config.teachers), config.run)
        for step, path in enumerate(paths):
            if not path.exists():
                save_whole(path, _measure(network, dataset.batch(step)))
    return [torch.load(path, weights_only=True) for path in paths]


@torch.no_grad()
def _measure(network: GatedSlut, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the inputs of the gate (B, F, 16, 16), and the square errors as polynomials (B, 3)."""
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
    return inputs.half(), torch.stack([it.mean(dim=(1, 2)) for it in terms], dim=1)


def _best(errors: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far the gate is best open for each example (B,), and how much that matters (B,).

    The weight of an example is the dB between the best gate and the worst, up to a limit.
    """
    closed, slope, curve = errors.unbind(1)
    best = (-0.5 * slope / curve.clamp(min=_LEAST)).clamp(0.0, 1.0)
    worst = torch.maximum(closed, errors.sum(dim=1))
    return best, (_level(worst) - _level(_at(errors, best))).clamp(0.0, _MOST)


def _at(errors: Tensor, gates: Tensor) -> Tensor:
    """Return the square errors (B,) at gates (B,)."""
    powers = torch.stack((torch.ones_like(gates), gates, gates.square()), dim=1)
    return (errors * powers).sum(dim=1)


def _level(squares: Tensor) -> Tensor:
    """Return dB."""
    return (10.0 / math.log(10.0)) * squares.clamp(min=_LEAST).log()


def _fit(gate: Gate, inputs: Tensor, errors: Tensor, config: GateConfig) -> None:
    """Fit a gate by gradient descent on normalised inputs, and fold the norms into it."""
    best, weights = _best(errors)
    deviation, mean = torch.std_mean(inputs[:_SAMPLE].float(), dim=(0, 2, 3), keepdim=True)
    deviation += 1e-3
    optimiser = torch.optim.AdamW(gate.requires_grad_().parameters(), weight_decay=_DECAY)
    rates = OneCycleLR(optimiser, _RATE, config.rounds, pct_start=0.1)
    for _ in range(config.rounds):
        some = torch.randint(len(inputs), (_BATCH,))
        read = (inputs[some].float() - mean) / deviation
        mirrored = torch.where(torch.rand(_BATCH, 1, 1, 1) < 0.5, read.flip(-1), read)
        logits = gate(functional.dropout2d(mirrored, _DROPOUT))[:, 0]
        loss = functional.binary_cross_entropy_with_logits(logits, best[some], weights[some])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        rates.step()
    gate.requires_grad_(requires_grad=False)
    weight, bias = gate.get_parameter("0.weight"), gate.get_parameter("0.bias")
    weight.div_(deviation)
    bias.sub_((weight * mean).sum(dim=(1, 2, 3)))
    _sharpen(gate, inputs, errors, config.losing)


def _sharpen(gate: Gate, inputs: Tensor, errors: Tensor, losing: float) -> None:
    """Let a gate be open or shut, and shut where it is in doubt.

    The threshold is the least with which at most the share `losing` of the examples lose.
    """
    logits = torch.cat([gate(some.float())[:, 0] for some in torch.split(inputs, _BATCH)])
    shut = _level(errors[:, 0])
    for threshold in _THRESHOLDS:
        lost = _level(_at(errors, torch.sigmoid(_SHARPNESS * (logits - threshold)))) - shut
        if (lost > _WORSE).float().mean() <= losing:
            break
    last = f"{len(gate) - 1}."
    gate.get_parameter(f"{last}bias").sub_(threshold).mul_(_SHARPNESS)
    gate.get_parameter(f"{last}weight").mul_(_SHARPNESS)
