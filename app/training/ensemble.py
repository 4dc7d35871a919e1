"""Networks whose outputs are averaged: for evaluation, and as teachers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator
from torch import Tensor

from app.errors import BadParameter
from app.imaging.resize import make_thumbnail
from app.networks.base import LutBatch, Network, ThumbnailRecipe, identity_table
from app.networks.lut_ops import apply_guard, apply_local, image_places, trilinear
from app.networks.store import Model, ModelCard, ModelRegistry, read_store
from app.policies import STORE
from app.training.augment import colours_at
from app.training.bpam import Bpam
from app.training.iat import Iat

_INVERSE_SIZE, _INVERSE_STEPS = 17, 40

ColourMapping = Callable[[NDArray[Any]], NDArray[np.float32]]
"""The mapping predicted for one image: colours (..., 3) in 0..1 to colours."""


class Ensemble:
    """The weighted mean of the outputs of one or more models.

    Attributes:
        thumbnail: how their thumbnails are made.
    """

    def __init__(self, models: Sequence[Model], weights: Sequence[float] | None = None) -> None:
        """Combine models; weights are relative to their sum, and equal by default.

        Raises:
            BadParameter: the models take different thumbnails.
        """
        self.thumbnail: ThumbnailRecipe = models[0].card.thumbnail
        if any(model.card.thumbnail != self.thumbnail for model in models):
            raise BadParameter("models that are averaged must take the same thumbnail")
        weights = weights or [1.0] * len(models)
        self._members = [
            (model.network, weight / sum(weights))
            for model, weight in zip(models, weights, strict=True)
        ]

    def __call__(self, thumbnails: Tensor, colours: Tensor, places: Tensor) -> Tensor:
        """Map colours as predicted from thumbnails.

        Args:
            thumbnails: float32 (B, 3, S, S) in 0..1.
            colours: float32 (B, P, 3) in 0..1.
            places: float32 (B, P, 2) in 0..1, for local networks.

        Returns:
            float32 (B, P, 3) in 0..1.
        """
        return _mix(self._tables(thumbnails), colours, places)

    def look(self, pixels: NDArray[np.uint8]) -> ColourMapping:
        """Predict the mapping of an image (H, W, 3).

        To local networks, colours (H', W', 3) are those of the image, from its first to its last
        row and column, and any other colours lie in its middle.
        """
        small = make_thumbnail(pixels, self.thumbnail.size, self.thumbnail.antialias)
        tables = self._tables(torch.from_numpy(small)[None])

        def look(colours: NDArray[Any]) -> NDArray[np.float32]:
            flat = torch.from_numpy(colours.astype(np.float32)).view(1, -1, 3)
            return _mix(tables, flat, _places(colours)).view(colours.shape).numpy()

        return look

    def mean_table(self, thumbnail: Tensor) -> Tensor:
        """Average the LUTs (3, D, D, D), not clamped, that global networks predict for an image."""
        tables = [it.table[0] * weight for it, weight in self._tables(thumbnail[None])]
        return torch.stack(tables).sum(dim=0)

    @torch.no_grad()
    def _tables(self, thumbnails: Tensor) -> list[tuple[LutBatch, float]]:
        return [(network(thumbnails), weight) for network, weight in self._members]


class InverseLook:
    """The colours that a LUT maps to given ones: what an image was before it was enhanced.

    Colours that the LUT does not reach become the nearest that were found.
    """

    def __init__(self, table: Tensor) -> None:
        """Invert a LUT float32 (3, D, D, D), not clamped, on a lattice by fixed-point iteration."""
        lattice = identity_table(_INVERSE_SIZE)
        wanted = lattice.flatten(1).T[None]
        colours, look = wanted, LutBatch(table[None])
        for _ in range(_INVERSE_STEPS):
            error = wanted - trilinear(look, colours)
            colours = (colours + 0.5 * error).clamp(0.0, 1.0)
        self._look = LutBatch(colours.transpose(1, 2).reshape(1, *lattice.shape))

    def __call__(self, pixels: Tensor) -> Tensor:
        """Map pixels uint8 (3, H, W) to float32 in 0..1, rounded to 8-bit levels."""
        colours = pixels.flatten(1).T[None] / 255.0
        mapped = trilinear(self._look, colours)[0].T.reshape(pixels.shape)
        return mapped.mul(255.0).round().div(255.0)


class _Pixelwise(NamedTuple):
    """A network that predicts every pixel, and no LUT.

    Attributes:
        read: reads the authors' checkpoint.
        source: licence and origin.
    """

    read: Callable[[Path], Bpam | Iat]
    source: str


PIXELWISE = {
    "bpam": _Pixelwise(
        Bpam.read, "BPAM (MIT): Lou et al., ICCV 2025, github.com/LabShuHangGU/BPAM"
    ),
    "iat": _Pixelwise(
        Iat.read,
        "IAT (Apache-2.0): Cui et al., BMVC 2022, "
        "github.com/cuiziteng/Illumination-Adaptive-Transformer",
    ),
}


class PixelwiseConfig(BaseModel):
    """A teacher that predicts no LUT.

    Attributes:
        network: which one.
        file: the authors' checkpoint.
        weight: beside the other teachers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: Literal["bpam", "iat"]
    file: Path
    weight: PositiveFloat = 1.0


class TeachersConfig(BaseModel):
    """The teachers, whose output is the weighted mean of these networks' outputs.

    Attributes:
        store: the model store of the LUT networks.
        models: their names, each with its weight.
        pixelwise: teachers beside them.
        guard: a of `apply_guard`, for those outputs; the cards of the others state their own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: Path = STORE
    models: dict[str, PositiveFloat] = {}
    pixelwise: tuple[PixelwiseConfig, ...] = ()
    guard: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _require_one(self) -> Self:
        if not self.models and not self.pixelwise:
            raise ValueError("there must be a model or a pixelwise teacher")
        return self


class Teachers:
    """Networks whose outputs are averaged.

    Attributes:
        sources: name, licence and origin of each.
        cards: of the LUT networks.
        thumbnail: the thumbnail that they take.
    """

    def __init__(self, config: TeachersConfig) -> None:
        """Read the networks.

        Raises:
            Problem: one of them is missing or cannot be read.
        """
        models = _find_models(config)
        weights = list(config.models.values())
        self.cards: list[ModelCard] = [model.card for model in models]
        self._ensemble = Ensemble(models, weights) if models else None
        unguarded = [Model(it.card, _without_guard(it.network)) for it in models]
        self._unguarded = Ensemble(unguarded, weights) if models else None
        self.thumbnail = self._ensemble.thumbnail if self._ensemble else ThumbnailRecipe()
        self._guard = config.guard
        total = sum(weights) + sum(it.weight for it in config.pixelwise)
        self._share = sum(weights) / total
        self._pixelwise = [
            (PIXELWISE[it.network].read(it.file), it.weight / total) for it in config.pixelwise
        ]
        self.sources = [f"{it.model_ref} ({it.licence}): {it.source}" for it in self.cards]
        self.sources += [PIXELWISE[it.network].source for it in config.pixelwise]

    @torch.no_grad()
    def predict(
        self, thumbnails: Tensor, images: Tensor, indices: Tensor, places: Tensor
    ) -> Tensor:
        """Enhance some pixels of images.

        Args:
            thumbnails: float32 (B, 3, S, S) in 0..1, of the same views as the images.
            images: float32 (B, 3, T, T) in 0..1.
            indices: int64 (B, P), flat, of the images' pixels.
            places: float32 (B, P, 2) in 0..1, of the same pixels.

        Returns:
            float32 (B, P, 3) in 0..1.
        """
        colours = _at(images, indices)
        outputs = torch.zeros_like(colours)
        if self._ensemble is not None:
            outputs += self._ensemble(thumbnails, colours, places) * self._share
        for network, share in self._pixelwise:
            guarded = apply_guard(network(images), images, self._guard).clamp(0.0, 1.0)
            outputs += _at(guarded, indices) * share
        return outputs

    @torch.no_grad()
    def inverse(self, thumbnail: Tensor) -> InverseLook:
        """Invert the look that the LUT networks predict together, without their guards.

        A guard maps black and white to themselves; unguarded, these networks map the raised blacks
        and the headroom of raw renderings to them, so the inverse has both.

        Args:
            thumbnail: float32 (3, S, S) in 0..1.

        Raises:
            BadParameter: there is no LUT network.
        """
        if self._unguarded is None:
            raise BadParameter("pixelwise teachers have no LUT that can be inverted")
        return InverseLook(self._unguarded.mean_table(thumbnail))


def _without_guard(network: Network) -> Network:
    """Copy a network, with the same weights; those that have no guard are returned unchanged."""
    if not hasattr(network, "guard"):
        return network
    unguarded = copy(network)
    setattr(unguarded, "guard", 0.0)  # noqa: B010 (modules declare no such attribute)
    return unguarded


def _find_models(config: TeachersConfig) -> list[Model]:
    if not config.models:
        return []
    stored = read_store(config.store)
    if not stored:
        raise BadParameter(f"{config.store}: no models here to learn from")
    registry = ModelRegistry(stored, default=stored[0].card.name)
    return [registry.get(name) for name in config.models]


def _mix(tables: list[tuple[LutBatch, float]], colours: Tensor, places: Tensor) -> Tensor:
    outputs = [apply_local(it, colours, places).clamp(0.0, 1.0) * weight for it, weight in tables]
    return torch.stack(outputs).sum(dim=0)


def _places(colours: NDArray[Any]) -> Tensor:
    """Return the places of colours (H, W, 3) of an image: (1, H W, 2). Others lie in the middle."""
    if colours.ndim != 3:
        return torch.full((1, colours.size // 3, 2), 0.5)
    return image_places(*colours.shape[:2])


def _at(images: Tensor, indices: Tensor) -> Tensor:
    """Read images (B, 3, T, T) at flat indices (B, P): (B, P, 3)."""
    return torch.stack([colours_at(*pair) for pair in zip(images, indices, strict=True)])
