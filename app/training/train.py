"""Supervised training: a network learns from pairs of photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, NonNegativeFloat
from torch import Tensor, nn

from app.errors import BadParameter
from app.networks.lut_ops import trilinear
from app.networks.store import ModelCard
from app.training.batch import Batch, drawn
from app.training.config import RunConfig
from app.training.degrade import UNTOUCHED, Degradation, DegradeConfig, random_degradation
from app.training.export import Label, export
from app.training.losses import colour_loss, monotonicity, smoothness
from app.training.pairs import Pair, find_pairs
from app.training.photos import as_planes, read_photo
from app.training.start import new_network
from app.training.trainer import Trainer
from app.training.views import colours_at, random_places, random_view, squeezed


class TrainLosses(BaseModel):
    """The weights of the losses beside L1 + cosine.

    Attributes:
        smoothness: of the basis LUTs.
        monotonicity: of the basis LUTs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    smoothness: NonNegativeFloat = 1e-4
    monotonicity: NonNegativeFloat = 10.0


class TrainConfig(RunConfig):
    """Training on pairs.

    Attributes:
        pairs: a folder; see `find_pairs`. All of it is held in memory, 8 bits a sample. Without a
            test part, training is validated on what it learns from.
        source: what the card says of the data.
        degrade: how the input, not the target, is varied.
        losses: their weights.
    """

    pairs: Path
    source: str
    degrade: DegradeConfig = DegradeConfig()
    losses: TrainLosses = TrainLosses()


def train(config: TrainConfig) -> ModelCard:
    """Trains a CLUT-Net on pairs, and puts it into the store.

    Called again after an interruption, it goes on from the last checkpoint.

    Raises:
        Problem: a pair or the checkpoint cannot be read; the loss is not finite.
    """
    training, test = (find_pairs(config.pairs, part) for part in ("train", "test"))
    _label(config, len(training)).write(config.run)
    task = Supervision(config, training, test)
    Trainer(task, config.schedule, config.run).run()
    return export(config.run, config.store)


class Supervision:
    """The task of making of each input what an expert made of it."""

    def __init__(self, config: TrainConfig, training: list[Pair], test: list[Pair]) -> None:
        self._config = config
        self.network = new_network(**config.network.model_dump(), seed=config.seed)
        self.scaffold = nn.Identity()
        self.batch_size = config.batch
        self._images = [_read(pair) for pair in training]
        rng = np.random.default_rng(config.seed)
        self.held_out = [_batch([self._example(_read(it), UNTOUCHED, rng)]) for it in test]

    def batch(self, step: int) -> Batch:
        """Random views of pairs, the inputs varied."""
        config = self._config
        rng = np.random.default_rng([config.seed, step])
        picked = drawn(len(self._images), config.batch, config.seed, step)
        views = [random_view(self._images[i], config.smallest_view, rng) for i in picked]
        return _batch(
            [self._example(view, random_degradation(config.degrade, rng), rng) for view in views]
        )

    def loss(self, batch: Batch) -> Tensor:
        """L1 + cosine, and the regularisation of the basis LUTs."""
        weights = self._config.losses
        answers = trilinear(self.network(batch.thumbnails), batch.colours)
        basis = self.network.basis()
        return (
            colour_loss(answers, batch.targets)
            + weights.smoothness * smoothness(basis)
            + weights.monotonicity * monotonicity(basis)
        )

    def _example(self, view: Tensor, vary: Degradation, rng: np.random.Generator) -> list[Tensor]:
        """A pair (6, H, W) -> a thumbnail (3, S, S), colours of it (P, 3), their targets (P, 3)."""
        size, antialias = self._config.thumbnail.size, self._config.thumbnail.antialias
        small = squeezed(view, size, antialias=antialias)
        thumbnail, target = vary(small[:3]), UNTOUCHED(small[3:])
        places = random_places(self._config.colours, size, rng)
        return [thumbnail, colours_at(thumbnail, places), colours_at(target, places)]


def _read(pair: Pair) -> Tensor:
    """The input upon the target: uint8 (6, H, W)."""
    before, after = as_planes(read_photo(pair.input)), as_planes(read_photo(pair.target))
    if before.shape != after.shape:
        raise BadParameter(f"{pair.input} and {pair.target} differ in size")
    return torch.cat((before, after))


def _batch(examples: list[list[Tensor]]) -> Batch:
    return Batch(*map(torch.stack, zip(*examples, strict=True)))


def _label(config: TrainConfig, count: int) -> Label:
    return Label(
        name=config.name,
        licence=config.licence,
        source=f"Trained here on {count} pairs: {config.source}",
        thumbnail=config.thumbnail,
        network=config.network,
        training={
            "command": "clut-enhance train",
            "recipe": config.model_dump(mode="json", exclude={"run", "store", "pairs"}),
        },
    )
