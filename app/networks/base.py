"""What every image-adaptive LUT network is: thumbnails -> codes -> tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from app.networks.backbone import Backbone


class LutBatch(NamedTuple):
    """A batch of LUTs as tensors.

    Attributes:
        table: float32 (B, 3, D, D, D), axes [channel][b][g][r], absolute.
        shaper: float32 (B, 3, M), one curve for each channel before the table, or None.
    """

    table: Tensor
    shaper: Tensor | None = None


class ThumbnailRecipe(BaseModel):
    """How a network wants its thumbnail made; the server obeys it.

    Attributes:
        size: side in pixels; the photograph is squeezed to a square.
        filter: the resampling filter.
        antialias: whether the filter's support grows with the reduction. The published networks
            were trained without, and lose about 0.4 dB with it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = 256
    filter: Literal["bilinear"] = "bilinear"
    antialias: bool = False


class Network(nn.Module, ABC):
    """An image-adaptive LUT method in two halves.

    `encode` looks at thumbnails and answers codes, a few numbers for each; `decode` turns codes
    into tables. A code is all that a look is: the table can be made again from it at any time.

    Attributes:
        architecture: the name in model cards.
        has_shaper: whether its tables come with shapers.
        half_codes: whether codes travel in half precision, which moves no pixel by more than a
            level.
        code_size: K, the length of a code.
        lut_size: D, the number of lattice points on each axis of the table.
        hparams: the arguments of the method's constructor, for the model card.
        trunk: the convolutions.
    """

    architecture: ClassVar[str]
    has_shaper: ClassVar[bool] = False
    half_codes: ClassVar[bool] = False
    trunk: Backbone

    def __init__(self, code_size: int, d: int, **hparams: float | None) -> None:
        super().__init__()
        self.code_size, self.lut_size = code_size, d
        self.hparams: dict[str, float | None] = {**hparams, "d": d}

    def encode(self, thumbnails: Tensor) -> Tensor:
        """Thumbnails float32 (B, 3, 256, 256) in 0..1 -> codes float32 (B, K)."""
        return self.codes(self.features(thumbnails))

    def features(self, thumbnails: Tensor) -> Tensor:
        """Thumbnails, not normalised -> what the trunk sees in them, (B, C, 8, 8)."""
        seen: Tensor = self.trunk(thumbnails)
        return seen

    @abstractmethod
    def codes(self, features: Tensor) -> Tensor:
        """The trunk's features (B, C, 8, 8) -> codes (B, K)."""

    @abstractmethod
    def decode(self, codes: Tensor) -> LutBatch:
        """Codes float32 (B, K) -> tables."""

    def forward(self, thumbnails: Tensor) -> LutBatch:
        """Thumbnails -> tables, both halves in one."""
        return self.decode(self.encode(thumbnails))


def identity_table(size: int) -> Tensor:
    """The table that changes nothing: float32 (3, D, D, D), axes [channel][b][g][r]."""
    ramp = torch.linspace(0.0, 1.0, size)
    blue, green, red = torch.meshgrid(ramp, ramp, ramp, indexing="ij")
    return torch.stack((red, green, blue))
