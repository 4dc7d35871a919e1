"""Recipes: TOML files, checked before anything runs."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, ValidationError

from app.errors import BadParameter
from app.networks.base import ThumbnailRecipe
from app.networks.store import Name
from app.policies import STORE
from app.training.trainer import ScheduleConfig


class NetworkConfig(BaseModel):
    """The sizes of a CLUT-Net; see `ClutNet`. Without S or W that axis is not compressed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: PositiveInt = 20
    s: PositiveInt | None = None
    w: PositiveInt | None = None
    d: PositiveInt = 33


class RunConfig(BaseModel):
    """What every training run has.

    Attributes:
        name: of the model that is made.
        licence: of the model that is made, an SPDX identifier.
        run: folder for the checkpoint and the metrics.
        store: the model store that the model is written to.
        seed: of all that is random.
        network: what is trained.
        thumbnail: how the service will make its thumbnails.
        batch: photos in a batch.
        colours: random pixels of each photo that the loss is computed on: a few thousand say as
            much as all of them.
        smallest_view: crops are from this to 1 of each side.
        schedule: how long and how fast.
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
    """Reads a recipe; its paths are relative to the working directory.

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
        complaint = json.loads(error.json())[0]
        field = ".".join(map(str, complaint["loc"]))
        raise BadParameter(f"{path}: {field}: {complaint['msg']}") from error
