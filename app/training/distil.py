"""Distillation: a network learns, from photographs alone, to answer as others do."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from app.networks.backbone import WIDTHS
from app.networks.base import LutBatch
from app.networks.lut_ops import trilinear
from app.networks.store import ModelCard, read_model
from app.training.batch import Batch
from app.training.export import Label, export
from app.training.kept import KeptLessons
from app.training.lessons import Lessons, LessonsConfig
from app.training.losses import bending, clipping, colour_loss, excess_variation
from app.training.ramps import ramps
from app.training.start import new_network
from app.training.trainer import Trainer


class DistilLosses(BaseModel):
    """The weights of the losses beside L1 + cosine.

    Attributes:
        hints: on how well the teachers' features can be read off the student's (FitNets, Romero et
            al., ICLR 2015): numbers by the hundred, where answers depend on the code alone.
        clipping: against shadows and highlights without detail.
        bending: of the tables; against bands, as is the next.
        excess_variation: of the answers along ramps.
        tables: how many tables of a batch these two look at: a few say as much as all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hints: NonNegativeFloat = 0.0
    clipping: NonNegativeFloat = 5.0
    bending: NonNegativeFloat = 10.0
    excess_variation: NonNegativeFloat = 1.0
    tables: PositiveInt = 4


class DistilConfig(LessonsConfig):
    """A distillation.

    Attributes:
        fixed_matrices: whether M_s and M_w stay as they start, so that psi alone is learned.
        losses: their weights.
        start: folder of the model that the student starts as, as app/model_store/NAME/VERSION.
        bfloat16: whether the student's trunk computes in 16 bits while it learns: twice as fast
            on a CPU that can.
    """

    fixed_matrices: bool = False
    losses: DistilLosses = DistilLosses()
    start: Path | None = None
    bfloat16: bool = False


def distil(config: DistilConfig, lessons: Lessons | None = None) -> ModelCard:
    """Trains a CLUT-Net to answer as the teachers do, and puts it into the store.

    Called again after an interruption, it goes on from the last checkpoint.

    Args:
        config: the recipe.
        lessons: those of the recipe, where several students share them.

    Raises:
        Problem: a photo, a teacher or the checkpoint cannot be read; the loss is not finite.
    """
    lessons = lessons or _own_lessons(config)
    _label(config, lessons).write(config.run)
    Trainer(Distillation(config, lessons), config.schedule, config.run).run()
    return export(config.run, config.store)


def _own_lessons(config: DistilConfig) -> Lessons:
    return KeptLessons(config, config.run / "batches") if config.batches else Lessons(config)


class Distillation:
    """The task of answering as the teachers do."""

    def __init__(self, config: DistilConfig, lessons: Lessons) -> None:
        self.network = new_network(**config.network.model_dump(), seed=config.seed)
        if config.start is not None:
            self.network.load_state_dict(read_model(config.start).network.state_dict())
        self.scaffold = HintReader(torch.cat([batch.hints for batch in lessons.held_out]))
        self.batch_size = config.batch
        self.held_out = lessons.held_out
        self._lessons, self._losses = lessons, config.losses
        self._bfloat16 = config.bfloat16
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
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
            features = self.network.features(batch.thumbnails)
        features = features.float()
        tables = self.network.decode(self.network.codes(features))
        answers = trilinear(tables, batch.colours)
        unread: Tensor = self.scaffold(features, batch.hints)
        some = LutBatch(tables.table[: weights.tables])
        return (
            colour_loss(answers, batch.targets)
            + weights.hints * unread
            + weights.clipping * clipping(answers, batch.targets)
            + weights.bending * bending(some.table)
            + weights.excess_variation * excess_variation(self._along_ramps(some))
        )

    def _along_ramps(self, tables: LutBatch) -> Tensor:
        """What is seen of the ramps (R, L, 3) through B tables: (B, R, L, 3) in 0..1."""
        colours = self._ramps.flatten(0, 1).expand(len(tables.table), -1, -1)
        seen = trilinear(tables, colours).clamp(0.0, 1.0)
        return seen.view(-1, *self._ramps.shape)


class HintReader(nn.Module):
    """Reads the teachers' features off the student's, by a linear map that is learned too."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, examples: Tensor) -> None:
        """Takes features (E, F, 8, 8) of the teachers, which say how large each of them is."""
        super().__init__()
        self.map = nn.Conv2d(WIDTHS[-1], examples.shape[1], kernel_size=1)
        every = (0, 2, 3)
        self.register_buffer("mean", examples.mean(dim=every, keepdim=True)[0])
        self.register_buffer("deviation", examples.std(dim=every, keepdim=True)[0] + 1e-3)

    def forward(self, features: Tensor, hints: Tensor) -> Tensor:
        """The student's features (B, 128, 8, 8), the teachers' (B, F, 8, 8) -> squared error."""
        read: Tensor = self.map(features)
        loss: Tensor = functional.mse_loss(read, (hints - self.mean) / self.deviation)
        return loss


def _label(config: DistilConfig, lessons: Lessons) -> Label:
    cards = lessons.teachers
    sources = "; ".join(f"{card.model_ref} ({card.licence}): {card.source}" for card in cards)
    # What is said of places on this machine is of use to nobody else.
    places = {"run": True, "store": True, "teacher_store": True, "start": True}
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
            "teachers": {card.model_ref: card.sha256 for card in cards},
        }
        | ({"start": read_model(config.start).card.sha256} if config.start else {}),
    )
