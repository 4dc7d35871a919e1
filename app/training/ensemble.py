"""Networks that answer together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.errors import BadParameter
from app.imaging.resize import make_thumbnail
from app.networks.base import LutBatch, ThumbnailRecipe
from app.networks.lut_ops import trilinear
from app.networks.store import Model

Look = Callable[[NDArray[Any]], NDArray[np.float32]]
"""What is made of one photo, for any colours (..., 3) in 0..1."""


class Ensemble:
    """The weighted mean of the answers of one or more models.

    Attributes:
        thumbnail: how they want their thumbnail made.
    """

    def __init__(self, models: Sequence[Model], weights: Sequence[float] | None = None) -> None:
        """The weights count in proportion to their sum; they are alike by default.

        Raises:
            BadParameter: the models want different thumbnails.
        """
        self.thumbnail: ThumbnailRecipe = models[0].card.thumbnail
        if any(model.card.thumbnail != self.thumbnail for model in models):
            raise BadParameter("models that answer together want the same thumbnail")
        weights = weights or [1.0] * len(models)
        self._members = [
            (model.network, weight / sum(weights))
            for model, weight in zip(models, weights, strict=True)
        ]

    def __call__(self, thumbnails: Tensor, colours: Tensor) -> Tensor:
        """Thumbnails (B, 3, S, S) and colours (B, P, 3) -> answers (B, P, 3) in 0..1."""
        return _mixed(self._tables(thumbnails), colours)

    @torch.no_grad()
    def lesson(self, thumbnails: Tensor, colours: Tensor) -> tuple[Tensor, Tensor]:
        """As `__call__`, and what all the trunks see, and where: (B, F, 8, 8)."""
        seen = [network.features(thumbnails) for network, _ in self._members]
        tables = [
            (network.decode(network.codes(features)), weight)
            for features, (network, weight) in zip(seen, self._members, strict=True)
        ]
        return _mixed(tables, colours), torch.cat(seen, dim=1)

    def look(self, pixels: NDArray[np.uint8]) -> Look:
        """Decides what to make of a photo (H, W, 3)."""
        small = make_thumbnail(pixels, self.thumbnail.size, self.thumbnail.antialias)
        tables = self._tables(torch.from_numpy(small)[None])

        def look(colours: NDArray[Any]) -> NDArray[np.float32]:
            flat = torch.from_numpy(colours.astype(np.float32)).view(1, -1, 3)
            return _mixed(tables, flat).view(colours.shape).numpy()

        return look

    @torch.no_grad()
    def _tables(self, thumbnails: Tensor) -> list[tuple[LutBatch, float]]:
        return [(network(thumbnails), weight) for network, weight in self._members]


def _mixed(tables: list[tuple[LutBatch, float]], colours: Tensor) -> Tensor:
    answers = [trilinear(it, colours).clamp(0.0, 1.0) * weight for it, weight in tables]
    return torch.stack(answers).sum(dim=0)
