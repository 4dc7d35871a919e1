"""Distillation: a network learns, from photographs alone, to answer as others do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from app.errors import BadParameter
from app.networks.base import Tables, ThumbnailRecipe
from app.networks.lookup import trilinear
from app.networks.store import Card, Catalogue, Model, read_store
from app.training.batch import Batch, drawn
from app.training.config import RunConfig
from app.training.degrade import UNTOUCHED, Degradation, DegradeConfig, random_degradation
from app.training.ensemble import Ensemble
from app.training.export import Label, export
from app.training.losses import bending, clipping, colour_loss, excess_variation
from app.training.photos import Photos, PhotosConfig, as_planes, read_photo
from app.training.ramps import ramps
from app.training.start import new_network
from app.training.trainer import Trainer
from app.training.views import colours_at, random_places, random_view, squeezed


class DistilLosses(BaseModel):
    """The weights of the losses beside L1 + cosine.

    Attributes:
        clipping: against shadows and highlights without detail.
        bending: of the tables; against bands, as is the next.
        excess_variation: of the answers along ramps.
        tables: how many tables of a batch these two look at: a few say as much as all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    clipping: NonNegativeFloat = 5.0
    bending: NonNegativeFloat = 10.0
    excess_variation: NonNegativeFloat = 1.0
    tables: PositiveInt = 4


class DistilConfig(RunConfig):
    """A distillation.

    Attributes:
        teachers: names of models, each with its weight in the mean of their answers.
        teacher_store: the model store that they are in.
        photos: what is answered.
        degrade: how the photos are made worse first.
        antialiased: the share of photos that the student sees antialiased: it learns to answer
            alike however its thumbnail was made.
        losses: their weights.
    """

    teachers: dict[str, PositiveFloat] = Field(min_length=1)
    teacher_store: Path = Path("model_store")
    photos: PhotosConfig
    degrade: DegradeConfig = DegradeConfig()
    antialiased: float = Field(default=0.5, ge=0, le=1)
    losses: DistilLosses = DistilLosses()


def distil(config: DistilConfig) -> Card:
    """Trains a CLUT-Net to answer as the teachers do, and puts it into the store.

    Called again after an interruption, it goes on from the last checkpoint.

    Raises:
        Problem: a photo, a teacher or the checkpoint cannot be read; the loss is not finite.
    """
    teachers = _teachers(config)
    photos = Photos(config.photos, config.seed)
    _label(config, teachers, photos).write(config.run)
    task = Distillation(config, Ensemble(teachers, list(config.teachers.values())), photos)
    Trainer(task, config.schedule, config.run).run()
    return export(config.run, config.store)


class _Shown(NamedTuple):
    """A photo as the teachers see it, as the student sees it, and colours (P, 3) of it."""

    to_teachers: Tensor
    to_student: Tensor
    colours: Tensor


class Distillation:
    """The task of answering as an ensemble does."""

    def __init__(self, config: DistilConfig, teacher: Ensemble, photos: Photos) -> None:
        self._config, self._teacher = config, teacher
        self.network = new_network(**config.network.model_dump(), seed=config.seed)
        self.batch_size = config.batch
        self._ramps = ramps(config.seed)
        self._images = [as_planes(read_photo(path)) for path in photos.train]
        self.held_out = list(self._validation(photos.held_out))

    def batch(self, step: int) -> Batch:
        """Random views of photos, made worse; answered by the teachers."""
        config = self._config
        rng = np.random.default_rng([config.seed, step])
        picked = drawn(len(self._images), config.batch, config.seed, step)
        views = [random_view(self._images[i], config.smallest_view, rng) for i in picked]
        return self._answered(
            [self._shown(view, random_degradation(config.degrade, rng), rng) for view in views]
        )

    def loss(self, batch: Batch) -> Tensor:
        """L1 + cosine, and what keeps detail and is against bands."""
        weights = self._config.losses
        tables = self.network(batch.thumbnails)
        answers = trilinear(tables, batch.colours)
        some = Tables(tables.table[: weights.tables])
        return (
            colour_loss(answers, batch.targets)
            + weights.clipping * clipping(answers, batch.targets)
            + weights.bending * bending(some.table)
            + weights.excess_variation * excess_variation(self._along_ramps(some))
        )

    def _along_ramps(self, tables: Tables) -> Tensor:
        """What is seen of the ramps (R, L, 3) through B tables: (B, R, L, 3) in 0..1."""
        colours = self._ramps.flatten(0, 1).expand(len(tables.table), -1, -1)
        seen = trilinear(tables, colours).clamp(0.0, 1.0)
        return seen.view(-1, *self._ramps.shape)

    def _validation(self, files: list[Path]) -> Iterator[Batch]:
        """Each photo as it is, and made worse in one way."""
        rng = np.random.default_rng(self._config.seed)
        for path in files:
            image = as_planes(read_photo(path))
            worse = random_degradation(self._config.degrade, rng)
            yield self._answered([self._shown(image, it, rng) for it in (UNTOUCHED, worse)])

    def _shown(self, view: Tensor, worsen: Degradation, rng: np.random.Generator) -> _Shown:
        def thumbnail(recipe: ThumbnailRecipe) -> Tensor:
            return worsen(squeezed(view, recipe.size, antialias=recipe.antialias))

        wanted = self._teacher.thumbnail
        to_teachers = thumbnail(wanted)
        antialias = bool(rng.random() < self._config.antialiased)
        own = self._config.thumbnail.model_copy(update={"antialias": antialias})
        to_student = to_teachers if own == wanted else thumbnail(own)
        places = random_places(self._config.colours, wanted.size, rng)
        return _Shown(to_teachers, to_student, colours_at(to_teachers, places))

    def _answered(self, shown: list[_Shown]) -> Batch:
        to_teachers, to_student, colours = map(torch.stack, zip(*shown, strict=True))
        return Batch(to_student, colours, self._teacher(to_teachers, colours))


def _teachers(config: DistilConfig) -> list[Model]:
    models = read_store(config.teacher_store)
    if not models:
        raise BadParameter(f"{config.teacher_store}: no models here to learn from")
    catalogue = Catalogue(models, default=models[0].card.name)
    return [catalogue.named(name) for name in config.teachers]


def _label(config: DistilConfig, teachers: list[Model], photos: Photos) -> Label:
    cards = [model.card for model in teachers]
    sources = "; ".join(f"{card.label} ({card.licence}): {card.source}" for card in cards)
    # What is said of places on this machine is of use to nobody else.
    places = {"run": True, "store": True, "teacher_store": True}
    places_of_photos = {"folder": True, "inventory": True}
    recipe = config.model_dump(mode="json", exclude=places | {"photos": places_of_photos})
    return Label(
        name=config.name,
        licence=config.licence,
        source=f"Trained here to answer as the mean of: {sources}",
        thumbnail=config.thumbnail,
        network=config.network,
        training={
            "command": "clut-enhance distil",
            "recipe": recipe,
            "photos": photos.licences,
            "teachers": {card.label: card.sha256 for card in cards},
        },
    )
