"""What a student is shown, and what its teachers make of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from app.errors import BadParameter
from app.networks.base import ThumbnailRecipe
from app.networks.store import Model, ModelRegistry, read_store
from app.policies import STORE
from app.training.batch import Batch, drawn
from app.training.config import RunConfig
from app.training.degrade import UNTOUCHED, Degradation, DegradeConfig, random_degradation
from app.training.ensemble import Ensemble
from app.training.photos import Photos, PhotosConfig, as_planes, read_photo
from app.training.views import collage, colours_at, random_places, random_view, squeezed


class LessonsConfig(RunConfig):
    """A run with teachers.

    Attributes:
        teachers: names of models, each with its weight in the mean of their answers.
        teacher_store: the model store that they are in.
        photos: what is answered.
        degrade: how the photos are made worse first.
        collaged: the share of photos of which a part is another photo's: what is learned from few
            photos then holds for more.
        batches: how many are prepared: later steps see them again, kept in the folder of the run.
            Teachers cost more than the student does. None prepares new ones for every step.
        antialiased: the share of photos that the student sees antialiased: it learns to answer
            alike however its thumbnail was made.
    """

    teachers: dict[str, PositiveFloat] = Field(min_length=1)
    teacher_store: Path = STORE
    photos: PhotosConfig
    degrade: DegradeConfig = DegradeConfig()
    collaged: float = Field(default=0.0, ge=0, le=1)
    batches: PositiveInt | None = None
    antialiased: float = Field(default=0.5, ge=0, le=1)


class _Shown(NamedTuple):
    """A photo as the teachers see it, as the student sees it, and colours (P, 3) of it."""

    to_teachers: Tensor
    to_student: Tensor
    colours: Tensor


class Lessons:
    """Photos, and the teachers' answers to them.

    Attributes:
        teachers: their cards.
        licences: how many photos there are under each licence.
        held_out: what is never learned from.
    """

    def __init__(self, config: LessonsConfig) -> None:
        """Reads the photos and the teachers.

        Raises:
            Problem: one of them cannot be read.
        """
        models, photos = _teachers(config), Photos(config.photos, config.seed)
        self.teachers = [model.card for model in models]
        self.licences = photos.licences
        self._config = config
        self._ensemble = Ensemble(models, list(config.teachers.values()))
        self._images = [as_planes(read_photo(path)) for path in photos.train]
        self.held_out = list(self._validation(photos.held_out))

    def batch(self, step: int) -> Batch:
        """Random views of photos, made worse; answered by the teachers."""
        config = self._config
        rng = np.random.default_rng([config.seed, step])
        picked = drawn(len(self._images), config.batch, config.seed, step)
        views = [random_view(self._images[i], config.smallest_view, rng) for i in picked]
        views = [
            collage(view, other, rng) if rng.random() < config.collaged else view
            for view, other in zip(views, views[1:] + views[:1], strict=True)
        ]
        return self._answered(
            [self._shown(view, random_degradation(config.degrade, rng), rng) for view in views]
        )

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

        wanted = self._ensemble.thumbnail
        to_teachers = thumbnail(wanted)
        antialias = bool(rng.random() < self._config.antialiased)
        own = self._config.thumbnail.model_copy(update={"antialias": antialias})
        to_student = to_teachers if own == wanted else thumbnail(own)
        places = random_places(self._config.colours, wanted.size, rng)
        return _Shown(to_teachers, to_student, colours_at(to_teachers, places))

    def _answered(self, shown: list[_Shown]) -> Batch:
        to_teachers, to_student, colours = map(torch.stack, zip(*shown, strict=True))
        return Batch(to_student, colours, *self._ensemble.lesson(to_teachers, colours))


def _teachers(config: LessonsConfig) -> list[Model]:
    models = read_store(config.teacher_store)
    if not models:
        raise BadParameter(f"{config.teacher_store}: no models here to learn from")
    catalogue = ModelRegistry(models, default=models[0].card.name)
    return [catalogue.get(name) for name in config.teachers]
