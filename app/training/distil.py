"""Distillation: a network learns from photographs, and from teachers, without pairs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt
from pydantic.main import IncEx
from torch import Tensor
from torch.nn import functional

from app.networks.base import LutBatch
from app.networks.lut_ops import apply_local, tables_at, trilinear
from app.networks.store import ModelCard, read_model
from app.training.config import RunConfig, new_network
from app.training.data import Photos, PhotosConfig
from app.training.dataset import Batch, DistillationDataset, MixtureConfig
from app.training.ensemble import Teachers, TeachersConfig
from app.training.losses import (
    clipping,
    colour_loss,
    curvature_loss,
    excess_variation,
    lab_loss,
    ramps,
)
from app.training.trainer import CardDraft, Trainer, export


class DistilLosses(BaseModel):
    """The weights of the losses beside L1 + cosine.

    Attributes:
        lab: the mean colour difference in CIELAB, where eyes see it.
        clipping: against shadows and highlights without detail.
        curvature: of the tables; against bands, as is the next. Of a local network, both take
            the mix of its tables at a random place.
        excess_variation: of the output along ramps.
        tables: how many tables of a batch these two are computed on: a few are as good as all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lab: NonNegativeFloat = 0.0
    clipping: NonNegativeFloat = 5.0
    curvature: NonNegativeFloat = 10.0
    excess_variation: NonNegativeFloat = 1.0
    tables: PositiveInt = 4


class DistilConfig(RunConfig):
    """A distillation.

    Attributes:
        photos: to learn from.
        teachers: the networks to learn from.
        mixture: the shares of a batch.
        fixed_matrices: whether M_s and M_w stay at their initial values, so that psi alone is
            learned.
        losses: their weights.
        init: folder of the model whose weights the student starts from, as
            model_store/NAME/VERSION.
        dropout: the share of features that are left out in training, each time others.
        bfloat16: whether the student's backbone computes in 16 bits in training: twice as fast
            on a CPU that can.
    """

    photos: PhotosConfig
    teachers: TeachersConfig
    mixture: MixtureConfig = MixtureConfig()
    fixed_matrices: bool = False
    losses: DistilLosses = DistilLosses()
    init: Path | None = None
    dropout: float = Field(default=0.0, ge=0, lt=1)
    bfloat16: bool = False


def distil(config: DistilConfig, *, cache: Path | None = None) -> ModelCard:
    """Train a network on a mixture, and write it to the model store.

    Called again after an interruption, it continues from the last checkpoint.

    Args:
        config: the recipe.
        cache: folder of the teachers' outputs, where several students share them.

    Raises:
        Problem: a photograph, a teacher or the checkpoint cannot be read; the loss is not finite.
    """
    photos, teachers = Photos(config.photos), Teachers(config.teachers)
    dataset = make_dataset(config, photos, teachers, cache or config.run / "batches")
    _draft(config, photos, teachers).write(config.run)
    Trainer(Distillation(config, dataset), config.schedule, config.run).run()
    return export(config.run, config.store)


def make_dataset(
    config: DistilConfig, photos: Photos, teachers: Teachers, cache: Path
) -> DistillationDataset:
    """Make the dataset of a recipe; the teachers' outputs are kept in the folder `cache`."""
    return DistillationDataset(
        config.mixture,
        photos,
        teachers,
        thumbnail=config.thumbnail,
        batch=config.batch,
        colours=config.colours,
        smallest_view=config.smallest_view,
        seed=config.seed,
        cache=cache,
    )


class Distillation:
    """The task of giving a dataset's targets."""

    def __init__(self, config: DistilConfig, dataset: DistillationDataset) -> None:
        self.network = new_network(**config.network.model_dump(), seed=config.seed)
        if config.init is not None:
            self.network.start_from(read_model(config.init).network)
        self.batch_size = config.batch
        self.held_out = dataset.held_out
        self._dataset, self._losses = dataset, config.losses
        self._bfloat16, self._dropout = config.bfloat16, config.dropout
        self._ramps = ramps(config.seed)
        if config.fixed_matrices:
            for matrix in self.network.matrices:
                matrix.requires_grad_(False)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        return self._dataset.batch(step)

    def loss(self, batch: Batch) -> Tensor:
        """Compute L1 + cosine, and the losses against clipping and bands."""
        weights = self._losses
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
            features = self.network.features(batch.thumbnails)
        kept = functional.dropout2d(features.float(), self._dropout)
        tables = self.network.decode(self.network.codes(kept))
        outputs = apply_local(tables, batch.colours, batch.places)
        every = -(-len(tables.table) // weights.tables)
        some = tables_at(tables.every(every), batch.places[::every, 0])
        return (
            colour_loss(outputs, batch.targets)
            + weights.lab * lab_loss(outputs, batch.targets)
            + weights.clipping * clipping(outputs, batch.targets)
            + weights.curvature * curvature_loss(some)
            + weights.excess_variation * excess_variation(self._along_ramps(LutBatch(some)))
        )

    def _along_ramps(self, tables: LutBatch) -> Tensor:
        """Map the ramps (R, L, 3) through B tables: (B, R, L, 3) in 0..1."""
        colours = self._ramps.flatten(0, 1).expand(len(tables.table), -1, -1)
        mapped = trilinear(tables, colours).clamp(0.0, 1.0)
        return mapped.view(-1, *self._ramps.shape)


def _draft(config: DistilConfig, photos: Photos, teachers: Teachers) -> CardDraft:
    # Paths of this machine are of no use to others.
    paths: Mapping[str, IncEx | bool] = {
        "run": True,
        "store": True,
        "init": True,
        "photos": {"folder", "inventory"},
        "teachers": {"store": True, "pixelwise": {"__all__": {"file"}}},
    }
    return CardDraft(
        name=config.name,
        licence=config.licence,
        source="Trained here on photographs damaged at random, towards the originals, and on "
        f"raw-like ones towards the mean of: {'; '.join(teachers.sources)}",
        thumbnail=config.thumbnail,
        network=config.network,
        training={
            "command": "clut-enhance distil",
            "recipe": config.model_dump(mode="json", exclude=paths),
            "teachers": {card.model_ref: card.sha256 for card in teachers.cards},
            "photos": photos.credits,
        }
        | ({"init": read_model(config.init).card.sha256} if config.init else {}),
    )
