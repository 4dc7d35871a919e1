"""The model store: `NAME/VERSION/{weights.safetensors, card.json}`.

A card holds all that is needed to rebuild its network; nothing is inferred from names.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, Field, ValidationError
from safetensors.torch import load, save

from app.errors import BadModel, UnknownLook, UnknownModel, describe_first
from app.model_files import (
    CARD,
    WEIGHTS,
    Card,
    model_folders,
    next_version,
    read_model_files,
    write_model_files,
)
from app.networks import ARCHITECTURES
from app.networks.base import Network, ThumbnailRecipe

log = logging.getLogger("clut")

FINGERPRINT_BYTES = 8


class ModelCard(Card):
    """Architecture, origin and licence of a model.

    `figures` are those of `clut-enhance measure`: `expert`, `artifacts`, `recover`.

    Attributes:
        architecture: a key of `ARCHITECTURES`.
        hparams: the arguments of the constructor of the architecture.
        thumbnail: how the thumbnail for the network is made.
        lut_size: D of the tables.
        parameters: the number of learned parameters.
    """

    architecture: str
    hparams: Annotated[
        dict[str, int | float | None], Field(validation_alias=AliasChoices("hparams", "sizes"))
    ]
    thumbnail: ThumbnailRecipe
    lut_size: int
    parameters: int

    @property
    def fingerprint(self) -> bytes:
        """The first 8 bytes of the SHA-256 of the weights: identifies the model in look tokens."""
        return bytes.fromhex(self.sha256)[:FINGERPRINT_BYTES]


@dataclass(frozen=True, eq=False)
class Model:
    """A network and its card; models are compared by identity."""

    card: ModelCard
    network: Network


class ModelRegistry:
    """The loaded models, by name and by fingerprint."""

    def __init__(self, models: Iterable[Model], default: str) -> None:
        """Index the models.

        Raises:
            UnknownModel: the default is not among the models.
        """
        self.models = sorted(models, key=lambda model: (model.card.name, model.card.version))
        # Versions rise, so the name alone ends at the highest.
        self._by_name = {model.card.name: model for model in self.models}
        self._by_ref = {model.card.model_ref: model for model in self.models}
        self.default = self.get(default)
        # Of models with equal weights, a look belongs to the default model.
        models = [*self.models, self.default]
        self._by_fingerprint = {model.card.fingerprint: model for model in models}

    def reuse_loaded(self, known: Iterable[Model]) -> ModelRegistry:
        """Replace the models that are already loaded by the loaded objects."""
        old = {model.card.model_ref: model for model in known}
        models = [
            old[model.card.model_ref]
            if model.card.model_ref in old and old[model.card.model_ref].card == model.card
            else model
            for model in self.models
        ]
        return ModelRegistry(models, self.default.card.model_ref)

    def get(self, name: str | None) -> Model:
        """Return the model NAME or NAME@VERSION; None is the default.

        Raises:
            UnknownModel: there is no such model; the error lists the names.
        """
        if name is None:
            return self.default
        model = self._by_name.get(name) or self._by_ref.get(name)
        if model is None:
            raise UnknownModel(f"There is no model {name!r}.", accepted=list(self._by_name))
        return model

    def get_by_fingerprint(self, fingerprint: bytes) -> Model:
        """Return the model that a look token was made with.

        Raises:
            UnknownLook: the model is not loaded.
        """
        model = self._by_fingerprint.get(fingerprint)
        if model is None:
            raise UnknownLook(
                f"The look was made with a model of fingerprint {fingerprint.hex()}, "
                "which is not installed."
            )
        return model


def read_store(root: Path) -> list[Model]:
    """Read every model of a store.

    Raises:
        BadModel: a model is incomplete or damaged; the message names the file.
    """
    return [read_model(folder) for folder in model_folders(root, "look")]


def read_registry(root: Path, default: str) -> ModelRegistry:
    """Read the models that can be served; the damaged ones are logged and left out.

    Raises:
        BadModel: the default model is one of these; the message names the file.
        UnknownModel: the default model is not in the store.
    """
    models: list[Model] = []
    bad: dict[str, BadModel] = {}
    for folder in model_folders(root, "look"):
        try:
            models.append(read_model(folder))
        except BadModel as error:
            bad[f"{folder.parent.name}@{folder.name}"] = error
    resolved = _resolve([*bad, *(model.card.model_ref for model in models)], default)
    if resolved in bad:
        raise bad[resolved]
    for model_ref, reason in bad.items():
        log.error("model %s is left out: %s", model_ref, reason.detail)
    return ModelRegistry(models, default)


def read_model(folder: Path) -> Model:
    """Read one model and check it against its card.

    Raises:
        BadModel: a file is missing, damaged or does not match the card; the message names it.
    """
    card, weights = read_model_files(folder, ModelCard)
    return Model(card, _build_network(card, weights, folder))


def write_model(
    root: Path,
    network: Network,
    *,
    name: str,
    licence: str,
    source: str,
    thumbnail: ThumbnailRecipe,
    training: dict[str, Any] | None = None,
) -> ModelCard:
    """Write a network atomically as the next version of NAME.

    Raises:
        BadModel: the name has other characters than a-z, 0-9, ".", "_" and "-".
    """
    weights = save({key: value.contiguous() for key, value in network.state_dict().items()})
    try:
        card = ModelCard(
            name=name,
            version=next_version(root / name),
            architecture=network.architecture,
            hparams=network.hparams,
            thumbnail=thumbnail,
            lut_size=network.lut_size,
            parameters=sum(parameter.numel() for parameter in network.parameters()),
            sha256=hashlib.sha256(weights).hexdigest(),
            licence=licence,
            source=source,
            training=training or {},
        )
    except ValidationError as error:
        raise BadModel(f"the card is not valid: {describe_first(error)}") from error
    folder = root / name / str(card.version)
    write_model_files(folder, weights, card.model_dump_json(indent=2))
    return card


def write_figures(root: Path, card: ModelCard, figures: dict[str, dict[str, float]]) -> ModelCard:
    """Replace the figures in the card of a stored model, atomically; other files stay.

    Raises:
        OSError: the card cannot be written.
    """
    measured = card.model_copy(update={"figures": figures})
    path = root / card.name / str(card.version) / CARD
    new = path.with_suffix(".new")
    new.write_text(measured.model_dump_json(indent=2) + "\n", encoding="utf-8")
    new.replace(path)
    return measured


def _resolve(model_refs: Iterable[str], default: str) -> str:
    """Return NAME@VERSION for NAME, the highest version, or for NAME@VERSION."""
    name, _, version = default.partition("@")
    if version:
        return default
    versions = [ref.rpartition("@")[2] for ref in model_refs if ref.startswith(f"{name}@")]
    return f"{name}@{max((int(v) for v in versions if v.isdecimal()), default='')}"


def _build_network(card: ModelCard, weights: bytes, folder: Path) -> Network:
    path = folder / WEIGHTS
    architecture = ARCHITECTURES.get(card.architecture)
    if architecture is None:
        raise BadModel(f"{folder / CARD}: there is no architecture {card.architecture!r}")
    try:
        network = architecture(**card.hparams)
        network.load_state_dict(load(weights))
    except Exception as error:  # whatever torch raises for sizes that nobody expects
        raise BadModel(f"{path}: does not fit the card ({error})") from error
    if network.lut_size != card.lut_size:
        raise BadModel(f"{folder / CARD}: lut_size is not {network.lut_size}, as of the network")
    for name, tensor in network.state_dict().items():
        if not tensor.isfinite().all():
            raise BadModel(f"{path}: tensor {name} holds NaN or infinity")
    return network.eval().requires_grad_(requires_grad=False)
