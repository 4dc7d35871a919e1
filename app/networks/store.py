"""The model store: `NAME/VERSION/{weights.safetensors, card.json}`.

A card says all that is needed to rebuild its network; nothing is guessed from names.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save

from app.errors import BadModel, UnknownLook, UnknownModel
from app.networks.base import Network, ThumbnailRecipe
from app.networks.registry import ARCHITECTURES

log = logging.getLogger("clut")

FINGERPRINT_BYTES = 8
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class ModelCard(BaseModel):
    """What a model is and where it comes from.

    Attributes:
        format: of the card itself.
        name: what users ask for.
        version: whole numbers; the highest is served under the bare name.
        architecture: the method, a key of `ARCHITECTURES`.
        hparams: the constructor's arguments of that method.
        thumbnail: how the network wants its thumbnail made.
        lut_size: D of its tables.
        parameters: how many numbers were learned, in all.
        sha256: of weights.safetensors, in hexadecimal.
        licence: SPDX identifier, or what is known in words.
        source: where the weights come from, with the attribution that the licence asks for.
        training: data, recipe and figures of a network that was trained here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    name: Name
    version: Annotated[int, Field(ge=1)]
    architecture: str
    hparams: Annotated[
        dict[str, int | float | None], Field(validation_alias=AliasChoices("hparams", "sizes"))
    ]
    thumbnail: ThumbnailRecipe
    lut_size: int
    parameters: int
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    licence: str
    source: str
    training: dict[str, Any] = {}

    @property
    def model_ref(self) -> str:
        """NAME@VERSION."""
        return f"{self.name}@{self.version}"

    @property
    def fingerprint(self) -> bytes:
        """The first 8 bytes of the SHA-256 of the weights: the model's identity in look tokens."""
        return bytes.fromhex(self.sha256)[:FINGERPRINT_BYTES]


@dataclass(frozen=True, eq=False)
class Model:
    """A network and its card; two are the same if they are one."""

    card: ModelCard
    network: Network


class ModelRegistry:
    """The models at hand, by name and by fingerprint."""

    def __init__(self, models: Iterable[Model], default: str) -> None:
        """Raises UnknownModel if the default is not among the models."""
        self.models = sorted(models, key=lambda model: (model.card.name, model.card.version))
        # Versions rise, so that the bare name ends at the highest.
        self._by_name = {model.card.name: model for model in self.models}
        self._by_label = {model.card.model_ref: model for model in self.models}
        self._by_fingerprint = {model.card.fingerprint: model for model in self.models}
        self.default = self.get(default)

    def reuse_loaded(self, known: Iterable[Model]) -> ModelRegistry:
        """The same models, but those that are known already as they are known."""
        old = {model.card.model_ref: model for model in known}
        same = [
            old[model.card.model_ref]
            if model.card.model_ref in old and old[model.card.model_ref].card == model.card
            else model
            for model in self.models
        ]
        return ModelRegistry(same, self.default.card.model_ref)

    def get(self, name: str | None) -> Model:
        """Finds NAME or NAME@VERSION; None is the default.

        Raises:
            UnknownModel: there is no such model; those that are there are named.
        """
        if name is None:
            return self.default
        model = self._by_name.get(name) or self._by_label.get(name)
        if model is None:
            raise UnknownModel(f"No model is called {name!r}.", accepted=list(self._by_name))
        return model

    def get_by_fingerprint(self, fingerprint: bytes) -> Model:
        """Finds the model that a look token was made with.

        Raises:
            UnknownLook: it is not here.
        """
        model = self._by_fingerprint.get(fingerprint)
        if model is None:
            raise UnknownLook(
                f"The look was made with a model of fingerprint {fingerprint.hex()}, "
                "which is not installed here."
            )
        return model


def read_store(root: Path) -> list[Model]:
    """Reads every model of a store.

    Raises:
        BadModel: a model is incomplete or damaged; the file is named.
    """
    return [read_model(folder) for folder in _folders(root)]


def read_registry(root: Path, default: str) -> ModelRegistry:
    """Reads the models that can be served; a bad one beside good ones is left out, and logged.

    Raises:
        BadModel: the default model is incomplete or damaged; the file is named.
        UnknownModel: it is not in the store.
    """
    models: list[Model] = []
    bad: dict[str, BadModel] = {}
    for folder in _folders(root):
        try:
            models.append(read_model(folder))
        except BadModel as error:
            bad[f"{folder.parent.name}@{folder.name}"] = error
    meant = _meant([*bad, *(model.card.model_ref for model in models)], default)
    if meant in bad:
        raise bad[meant]
    for label, complaint in bad.items():
        log.error("the model %s is left out: %s", label, complaint.detail)
    return ModelRegistry(models, default)


def read_model(folder: Path) -> Model:
    """Reads one model and checks it against its card.

    Raises:
        BadModel: a file is missing, damaged, or not what the card says; it is named.
    """
    card = _read_card(folder / "card.json")
    if [card.name, str(card.version)] != [folder.parent.name, folder.name]:
        place = f"{card.name}/{card.version}"
        raise BadModel(f"{folder / 'card.json'}: the model belongs in the folder {place}")
    path = folder / "weights.safetensors"
    try:
        weights = path.read_bytes()
    except OSError as error:
        raise BadModel(f"{path}: cannot be read ({error.strerror})") from error
    if hashlib.sha256(weights).hexdigest() != card.sha256:
        raise BadModel(f"{path}: its SHA-256 is not the one in the card")
    return Model(card, _network(card, weights, path))


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
    """Writes a network as the next version of NAME; a reader sees all of it or nothing.

    Raises:
        BadModel: the name is not of small letters, digits, dots, dashes and underscores.
    """
    weights = save({key: value.contiguous() for key, value in network.state_dict().items()})
    try:
        card = ModelCard(
            name=name,
            version=_next_version(root / name),
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
        raise BadModel(f"the model's card is not valid: {_first(error)}") from error
    (root / name).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".new-") as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        (folder / "weights.safetensors").write_bytes(weights)
        (folder / "card.json").write_text(card.model_dump_json(indent=2) + "\n")
        folder.rename(root / name / str(card.version))
    return card


def _folders(root: Path) -> list[Path]:
    """The models of a store: NAME/VERSION."""
    # What begins with a dot is an import under way, or left over from one that was cut short.
    return sorted(path for path in root.glob("[!.]*/[!.]*") if path.is_dir())


def _meant(labels: Iterable[str], default: str) -> str:
    """What NAME or NAME@VERSION means among labels: of a bare name, the highest version."""
    name, _, version = default.partition("@")
    if version:
        return default
    versions = [label.rpartition("@")[2] for label in labels if label.startswith(f"{name}@")]
    return f"{name}@{max((int(v) for v in versions if v.isdecimal()), default='')}"


def _read_card(path: Path) -> ModelCard:
    try:
        return ModelCard.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadModel(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise BadModel(f"{path}: {_first(error)}") from error


def _network(card: ModelCard, weights: bytes, path: Path) -> Network:
    architecture = ARCHITECTURES.get(card.architecture)
    if architecture is None:
        raise BadModel(f"{path.with_name('card.json')}: no architecture {card.architecture!r}")
    try:
        network = architecture(**card.hparams)
        network.load_state_dict(load(weights))
    except (SafetensorError, RuntimeError, TypeError) as error:
        raise BadModel(f"{path}: does not fit its card ({error})") from error
    for name, tensor in network.state_dict().items():
        if not tensor.isfinite().all():
            raise BadModel(f"{path}: tensor {name} holds NaN or infinity")
    return network.eval().requires_grad_(requires_grad=False)


def _next_version(folder: Path) -> int:
    taken = [int(path.name) for path in folder.glob("*") if path.name.isdecimal()]
    return max(taken, default=0) + 1


def _first(error: ValidationError) -> str:
    """The first complaint, as FIELD: MESSAGE."""
    complaint = json.loads(error.json())[0]
    return f"{'.'.join(map(str, complaint['loc']))}: {complaint['msg']}"
