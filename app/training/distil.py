"""Distillation: a network learns, from photographs alone, to answer as others do."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveInt
from torch import Tensor

from app.networks.base import Tables
from app.networks.lookup import trilinear
from app.networks.store import Card
from app.training.batch import Batch
from app.training.export import Label, export
from app.training.lessons import Lessons, LessonsConfig
from app.training.losses import bending, clipping, colour_loss, excess_variation
from app.training.ramps import ramps
from app.training.start import new_network
from app.training.trainer import Trainer


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


class DistilConfig(LessonsConfig):
    """A distillation.

    Attributes:
        fixed_matrices: whether M_s and M_w stay as they start, so that psi alone is learned.
        losses: their weights.
    """

    fixed_matrices: bool = False
    losses: DistilLosses = DistilLosses()


def distil(config: DistilConfig, lessons: Lessons | None = None) -> Card:
    """Trains a CLUT-Net to answer as the teachers do, and puts it into the store.

    Called again after an interruption, it goes on from the last checkpoint.

    Args:
        config: the recipe.
        lessons: those of the recipe, where several students share them.

    Raises:
        Problem: a photo, a teacher or the checkpoint cannot be read; the loss is not finite.
    """
    lessons = lessons or Lessons(config)
    _label(config, lessons).write(config.run)
    Trainer(Distillation(config, lessons), config.schedule, config.run).run()
    return export(config.run, config.store)


class Distillation:
    """The task of answering as the teachers do."""

    def __init__(self, config: DistilConfig, lessons: Lessons) -> None:
        self.network = new_network(**config.network.model_dump(), seed=config.seed)
        self.batch_size = config.batch
        self.held_out = lessons.held_out
        self._lessons, self._losses = lessons, config.losses
        self._ramps = ramps(config.seed)
        if config.fixed_matrices:
            for matrix in self.network.matrices:
                matrix.requires_grad_(False)

    def batch(self, step: int) -> Batch:
        """The lesson of that step."""
        return self._lessons.batch(step)

    def loss(self, batch: Batch) -> Tensor:
        """L1 + cosine, and what keeps detail and is against bands."""
        weights = self._losses
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


def _label(config: DistilConfig, lessons: Lessons) -> Label:
    cards = lessons.teachers
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
            "photos": lessons.licences,
            "teachers": {card.label: card.sha256 for card in cards},
        },
    )
