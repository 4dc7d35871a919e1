"""Recipes of restoration models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from app.model_files import Name
from app.policies import STORE
from app.restoration.cleaning import Planes
from app.training.augment import Range
from app.training.data import PhotosConfig

Filter = Literal["bicubic", "area", "lanczos"]
Share = Annotated[float, Field(ge=0, le=1)]


class DamageConfig(BaseModel):
    """How inputs are made of photographs. Ranges are sampled uniformly.

    Attributes:
        originals: factor by which a photograph is reduced first, which removes its own artefacts.
        filters: the filters that reduce the original to the input, each as likely.
        noise: standard deviation of noise at middle grey, in 8-bit levels; half of its variance
            is proportional to the light (Poisson), half constant.
        noisy: share of inputs with noise.
        jpeg: qualities.
        compressed: share of inputs that were a JPEG.
        planes: the channels of the inputs: red, green and blue, each alone where the model reads
            one channel; luma; or blue and red chroma at half the size, each alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    originals: Range = (0.6, 1.0)
    filters: tuple[Filter, ...] = ("bicubic", "bicubic", "area", "lanczos")
    noise: Range = (0.0, 0.0)
    noisy: Share = 0.0
    jpeg: Range = (60.0, 95.0)
    compressed: Share = 0.0
    planes: Planes = "rgb"


class Phase(BaseModel):
    """Steps of training with one grid.

    Attributes:
        grids: the distance of the levels of the tables of each layer, or one for all: 16, 32 or
            64, and 1 for tables of a single pixel.
        steps: the number of batches.
        rate: of Adam at the beginning, in units of an entry; it falls along half a cosine.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    grids: Annotated[tuple[Literal[1, 2, 4, 8, 16, 32, 64], ...], Field(min_length=1)]
    steps: PositiveInt
    rate: float


class RestorationConfig(BaseModel):
    """A run.

    Attributes:
        name: of the model.
        licence: of the model, an SPDX identifier.
        run: folder of the checkpoint and of metrics.csv: step, PSNR of training, of held-out
            photographs, and of these by Lanczos, or as they are.
        store: the model store that the model is written to.
        seed: of every random choice.
        scale: output pixels for each of the input, in one direction.
        method: of the model; `cleaner` learns MuLUT's tables for each kind of damage.
        hparams: of the method, beside the scale; see `app.restoration.descriptions`.
        photos: to learn from.
        damage: how inputs are made.
        size: of a patch, in pixels of the input.
        patches: of one photograph, in a batch.
        groups: photographs in a batch.
        pool: photographs whose patches are in memory.
        phases: from coarse to fine.
        report: steps from one line of the metrics to the next.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    licence: str
    run: Path
    store: Path = STORE
    seed: NonNegativeInt = 0
    scale: PositiveInt
    method: Literal["mulut", "cleaner", "spf-lut", "dnlut", "rc-lut", "ec-lut"]
    hparams: dict[str, Any] = {}
    photos: PhotosConfig
    damage: DamageConfig = DamageConfig()
    size: PositiveInt = 48
    patches: PositiveInt = 4
    groups: PositiveInt = 6
    pool: PositiveInt = 64
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    report: PositiveInt = 200
