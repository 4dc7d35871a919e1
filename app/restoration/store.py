"""Restoration models in the model store, beside those of looks; their cards are of another kind."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeAlias, TypeVar

import numpy as np
from pydantic import Field, ValidationError
from safetensors.numpy import load, save

from app.errors import BadModel, UnknownModel, describe_first
from app.model_files import (
    CARD,
    WEIGHTS,
    Card,
    model_folders,
    next_version,
    read_model_files,
    write_model_files,
)
from app.restoration.cleaning import Cleaner, Cleaners
from app.restoration.engine import Model
from app.restoration.lerf import Resampler
from app.restoration.methods import METHODS
from app.restoration.published_files import Imported

log = logging.getLogger("clut")

_PREFERRED = ("clean", "clean-chroma", "denoise")

Task = Literal["clean", "upscale"]
Upscaler: TypeAlias = Model | Resampler
M = TypeVar("M", Upscaler, Cleaner, Upscaler | Cleaner)


class RestorationCard(Card):
    """Method, origin and licence of a restoration model.

    The model `upscale-N` is preferred to others of the scale N, `clean` to others that clean luma,
    `clean-chroma` to others that clean chroma, and `denoise` to others that remove strong noise.
    `figures` are the PSNR in dB, by data set and method.

    Attributes:
        kind: distinguishes it from the cards of looks.
        task: the purpose of the model.
        scale: output pixels for each of the input, in one direction; None for any scale.
        method: a key of `METHODS`.
        hparams: arguments of the method beside its tables.
        bytes: of the tables.
    """

    kind: Literal["restore"] = "restore"
    task: Task
    scale: Annotated[int, Field(ge=1, le=8)] | None
    method: str
    hparams: dict[str, Any]
    bytes: int


@dataclass(frozen=True, eq=False)
class Restorer(Generic[M]):
    """A model and its card."""

    card: RestorationCard
    model: M


AnyRestorer: TypeAlias = Restorer[Upscaler | Cleaner]


class Restorers:
    """The restoration models that are served.

    Attributes:
        all: every version of every model.
        cleaners: those that `restore` uses.
    """

    def __init__(self, restorers: Sequence[AnyRestorer] = ()) -> None:
        self.all = sorted(restorers, key=lambda it: (it.card.name, it.card.version))
        self._by_name = {it.card.name: it for it in self.all}
        self._upscalers: dict[str, Restorer[Upscaler]] = {}
        luma, chroma, denoiser = None, None, None
        # The first name of a kind is taken, unless one has the name that is preferred.
        for name, it in sorted(self._by_name.items(), key=lambda pair: pair[0] not in _PREFERRED):
            if isinstance(it.model, Cleaner):
                if it.model.planes == "chroma":
                    chroma = chroma or it.model
                else:
                    luma = luma or it.model
            elif isinstance(it.model, Model) and it.model.scale == 1:
                denoiser = denoiser or it.model
            else:
                self._upscalers[name] = Restorer(it.card, it.model)
        self.cleaners = Cleaners(luma, chroma, denoiser)

    def __contains__(self, name: str) -> bool:
        return name.partition("@")[0] in self._by_name

    def get(self, name: str) -> AnyRestorer:
        """Return the model NAME or NAME@VERSION.

        Raises:
            UnknownModel: there is no such model.
        """
        by_ref = {it.card.model_ref: it for it in self.all}
        found = self._by_name.get(name) or by_ref.get(name)
        if found is None:
            raise UnknownModel(f"There is no model {name!r}.", accepted=list(self._by_name))
        return found

    def find(self, scale: int | None) -> Restorer[Upscaler] | None:
        """Return the model for a scale, or the one for any scale (None).

        `upscale-N` is preferred, `upscale-any` for any scale; otherwise the first by name.
        """
        fitting = {name: it for name, it in self._upscalers.items() if it.card.scale == scale}
        preferred = f"upscale-{scale or 'any'}"
        return fitting.get(preferred) or next(iter(fitting.values()), None)


def read_restorers(root: Path) -> Restorers:
    """Read the restoration models of a store; damaged ones are logged and left out."""
    found: list[AnyRestorer] = []
    bad: dict[Path, BadModel] = {}
    for folder in model_folders(root, "restore"):
        try:
            found.append(read_restorer(folder))
        except BadModel as error:
            bad[folder] = error
    for folder, reason in bad.items():
        log.error("model %s@%s is left out: %s", folder.parent.name, folder.name, reason.detail)
    return Restorers(found)


def read_restorer(folder: Path) -> AnyRestorer:
    """Read one model and check it against its card.

    Raises:
        BadModel: a file is missing, damaged or does not match the card; the message names it.
    """
    card, weights = read_model_files(folder, RestorationCard)
    if card.method not in METHODS:
        raise BadModel(f"{folder / CARD}: there is no method {card.method!r}")
    try:
        model = METHODS[card.method](load(weights), card.hparams)
    except Exception as error:  # whatever a method raises for tables and arguments of any kind
        raise BadModel(f"{folder / WEIGHTS}: does not fit the card ({error})") from error
    if model.scale != card.scale:
        raise BadModel(f"{folder / CARD}: scale is not {model.scale}, as of the tables")
    return Restorer(card, model)


def write_restorer(
    root: Path,
    imported: Imported,
    *,
    name: str,
    licence: str,
    source: str,
    training: dict[str, Any] | None = None,
    figures: dict[str, dict[str, float]] | None = None,
) -> RestorationCard:
    """Write tables atomically as the next version of NAME.

    Raises:
        BadModel: the name has other characters than a-z, 0-9, ".", "_" and "-", or the tables do
            not fit the method.
    """
    model = METHODS[imported.method](imported.tables, imported.hparams)
    cleans = model.scale == 1
    tables = {key: np.ascontiguousarray(table) for key, table in imported.tables.items()}
    weights = save(tables)
    try:
        card = RestorationCard(
            name=name,
            version=next_version(root / name),
            task="clean" if cleans else "upscale",
            scale=model.scale,
            method=imported.method,
            hparams=imported.hparams,
            bytes=sum(table.nbytes for table in tables.values()),
            sha256=hashlib.sha256(weights).hexdigest(),
            licence=licence,
            source=source,
            training=training or {},
            figures=figures or {},
        )
    except ValidationError as error:
        raise BadModel(f"the card is not valid: {describe_first(error)}") from error
    folder = root / name / str(card.version)
    write_model_files(folder, weights, card.model_dump_json(indent=2))
    return card
