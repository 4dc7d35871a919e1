"""Recipes: TOML files, checked before anything runs."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
)

from app.errors import BadParameter, describe_first
from app.model_files import Name
from app.networks.base import ThumbnailRecipe
from app.networks.clutnet import ClutNet
from app.networks.lut4d import Lut4D
from app.networks.slut import Slut
from app.policies import STORE


class NetworkConfig(BaseModel):
    """The network to train, and its sizes. Without S or W that axis is not compressed.

    Attributes:
        architecture: CLUT-Net, or one of the local networks that are built on it.
        n: as in `ClutNet` and `Lut4D`; T of `Slut`.
        s: as in `ClutNet`.
        w: as in `ClutNet`.
        d: as in `ClutNet`.
        colours: as in `ClutNet`.
        m: as in `Slut`, which alone has it.
        levels: as in `Slut`; local networks alone have it.
        restraint: as in `ClutNet`, which alone has it; it has no part in the training.
        smoothing: of the matrices when the training has ended; see `ClutNet.smooth`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Literal["clutnet", "slut", "lut4d"] = "clutnet"
    n: PositiveInt = 20
    s: PositiveInt | None = None
    w: PositiveInt | None = None
    d: PositiveInt = 33
    colours: NonNegativeInt = 0
    m: PositiveInt = 2
    levels: PositiveInt = 8
    restraint: NonNegativeFloat = 0.0
    smoothing: Annotated[float, Field(ge=0, le=0.25)] = 0.0

    def build(self) -> ClutNet:
        """Make the network, with random weights."""
        if self.architecture == "slut":
            return Slut(self.n, self.m, self.s, self.w, self.d, self.colours, self.levels)
        if self.architecture == "lut4d":
            return Lut4D(self.n, self.s, self.w, self.d, self.colours, self.levels)
        return ClutNet(self.n, self.s, self.w, self.d, self.colours, self.restraint)


def new_network(*, seed: int, **sizes: float | str | None) -> ClutNet:
    """Make a network to be trained, of the sizes of a `NetworkConfig`; see `initialise`."""
    torch.manual_seed(seed)
    network = NetworkConfig.model_validate(sizes | {"restraint": 0.0}).build()
    network.initialise()
    return network


class ScheduleConfig(BaseModel):
    """Number of steps and learning rate.

    Attributes:
        steps: the number of batches.
        rate: the highest learning rate of Adam.
        warmup: steps over which the rate rises to that, linearly.
        decay: whether it falls to zero, along half a cosine.
        averaging: the share of the past in the moving average of the weights, which is what is
            validated and exported; 0 takes the weights themselves.
        report: steps from one line of the metrics, and one checkpoint, to the next: what an
            interruption may lose.
        workers: processes that prepare batches ahead; with 0 the trainer does so itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: PositiveInt
    rate: float = 1e-3
    warmup: NonNegativeInt = 0
    decay: bool = False
    averaging: float = 0.0
    report: PositiveInt = 100
    workers: NonNegativeInt = 0

    def rate_at(self, step: int) -> float:
        """Compute the learning rate of a step."""
        rising = min(1.0, (step + 1) / (self.warmup + 1))
        falling = 0.5 * (1.0 + math.cos(math.pi * step / self.steps)) if self.decay else 1.0
        return self.rate * rising * falling


class RunConfig(BaseModel):
    """The common part of all recipes.

    Attributes:
        name: of the model.
        licence: of the model, an SPDX identifier.
        run: folder of the checkpoint and the metrics.
        store: the model store that the model is written to.
        seed: of every random choice.
        network: the network to train.
        thumbnail: how the service makes its thumbnails.
        batch: images in a batch.
        colours: random pixels of each image in the loss: a few thousand are as good as all.
        smallest_view: crops are from this to 1 of each side.
        schedule: number of steps and learning rate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    licence: str
    run: Path
    store: Path = STORE
    seed: NonNegativeInt = 0
    network: NetworkConfig
    thumbnail: ThumbnailRecipe = ThumbnailRecipe()
    batch: PositiveInt
    colours: PositiveInt = 2048
    smallest_view: float = 0.6
    schedule: ScheduleConfig


Config = TypeVar("Config", bound=BaseModel)


def read_config(path: Path, kind: type[Config]) -> Config:
    """Read a recipe; its paths are relative to the working directory.

    Raises:
        BadParameter: the file cannot be read, or is not a recipe of that kind; the field is named.
    """
    try:
        return kind.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BadParameter(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadParameter(f"{path}: not TOML ({error})") from error
    except ValidationError as error:
        raise BadParameter(f"{path}: {describe_first(error)}") from error
