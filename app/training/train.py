"""Supervised training: a network learns from pairs of photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, NonNegativeFloat
from torch import Tensor

from app.errors import BadParameter
from app.networks.lut_ops import apply_local
from app.networks.store import ModelCard
from app.training.augment import (
    UNTOUCHED,
    Degradation,
    DegradeConfig,
    colours_at,
    pixel_indices,
    places_of,
    random_degradation,
    random_view,
    resize_square,
)
from app.training.config import RunConfig, new_network
from app.training.data import Pair, as_planes, draw, find_pairs, read_photo
from app.training.dataset import Batch
from app.training.losses import colour_loss, monotonicity, smoothness
from app.training.trainer import CardDraft, Trainer, export


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
            test part, training is validated on the examples that it learns from.
        source: the data, for the model card.
        degrade: how the input, not the target, is varied.
        losses: their weights.
    """

    pairs: Path
    source: str
    degrade: DegradeConfig = DegradeConfig()
    losses: TrainLosses = TrainLosses()


def train(config: TrainConfig) -> ModelCard:
    """Train a network on pairs, and write it to the model store.

    Called again after an interruption, it continues from the last checkpoint.

    Raises:
        Problem: a pair or the checkpoint cannot be read; the loss is not finite.
    """
    training, test = (find_pairs(config.pairs, part) for part in ("train", "test"))
    _draft(config, len(training)).write(config.run)
    task = Supervision(config, training, test)
    Trainer(task, config.schedule, config.run).run()
    return export(config.run, config.store)


class Supervision:
    """The task of giving an expert's versions of inputs."""

    def __init__(self, config: TrainConfig, training: list[Pair], test: list[Pair]) -> None:
        self._config = config
        self.network = new_network(**config.network.model_dump(), seed=config.seed)
        self.batch_size = config.batch
        self._images = [_read(pair) for pair in training]
        rng = np.random.default_rng(config.seed)
        examples = [_batch([self._example(_read(it), UNTOUCHED, rng)]) for it in test]
        self.held_out = {"expert": examples}

    def batch(self, step: int) -> Batch:
        """Draw random views of pairs, the inputs varied."""
        config = self._config
        rng = np.random.default_rng([config.seed, step])
        picked = draw(len(self._images), config.batch, config.seed, step)
        views = [random_view(self._images[i], config.smallest_view, rng) for i in picked]
        return _batch(
            [self._example(view, random_degradation(config.degrade, rng), rng) for view in views]
        )

    def loss(self, batch: Batch) -> Tensor:
        """Compute L1 + cosine, and the regularisation of the basis LUTs."""
        weights = self._config.losses
        outputs = apply_local(self.network(batch.thumbnails), batch.colours, batch.places)
        basis = self.network.basis()
        return (
            colour_loss(outputs, batch.targets)
            + weights.smoothness * smoothness(basis)
            + weights.monotonicity * monotonicity(basis)
        )

    def _example(self, view: Tensor, vary: Degradation, rng: np.random.Generator) -> list[Tensor]:
        """Make an example of a pair (6, H, W).

        Returns:
            A thumbnail (3, S, S), colours of it (P, 3), their targets (P, 3) and places (P, 2).
        """
        size, antialias = self._config.thumbnail.size, self._config.thumbnail.antialias
        small = resize_square(view, size, antialias=antialias)
        thumbnail, target = vary(small[:3]), UNTOUCHED(small[3:])
        indices = pixel_indices(self._config.colours, size, rng)
        return [
            thumbnail,
            colours_at(thumbnail, indices),
            colours_at(target, indices),
            places_of(indices, size),
        ]


def _read(pair: Pair) -> Tensor:
    """Read a pair, the input upon the target: uint8 (6, H, W)."""
    before, after = as_planes(read_photo(pair.input)), as_planes(read_photo(pair.target))
    if before.shape != after.shape:
        raise BadParameter(f"{pair.input} and {pair.target} differ in size")
    return torch.cat((before, after))


def _batch(examples: list[list[Tensor]]) -> Batch:
    return Batch(*map(torch.stack, zip(*examples, strict=True)))


def _draft(config: TrainConfig, count: int) -> CardDraft:
    return CardDraft(
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
