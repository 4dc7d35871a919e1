"""The interface of image-adaptive LUT networks, their backbone, and published checkpoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from app.errors import BadModel


class LutBatch(NamedTuple):
    """A batch of LUTs as tensors.

    Attributes:
        table: float32 (B, 3K, D, D, D), axes [channel][b][g][r], absolute: K tables of three
            channels each, one after the other. K = 1 unless there are maps.
        shaper: float32 (B, 3, M), one curve per channel before the table, or None.
        maps: float32 (B, K - 1, L, H, W) in 0..1, or None: the weights of the tables but the
            first, which has the rest, at L levels of luma and H x W places of the image.
    """

    table: Tensor
    shaper: Tensor | None = None
    maps: Tensor | None = None

    def every(self, step: int) -> LutBatch:
        """Return every so many of the LUTs, without a copy."""
        shaper, maps = (None if it is None else it[::step] for it in self[1:])
        return LutBatch(self.table[::step], shaper, maps)


class ThumbnailRecipe(BaseModel):
    """How the thumbnail that a network receives is made.

    Attributes:
        size: side in pixels, 1..1024; the image is resized to a square.
        filter: the resampling filter; model cards that require another one are rejected.
        antialias: whether the support of the filter grows with the reduction. The published
            networks were trained without it, and lose about 0.4 dB with it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Annotated[int, Field(ge=1, le=1024)] = 256
    filter: Literal["bilinear"] = "bilinear"
    antialias: bool = False


class Network(nn.Module, ABC):
    """An image-adaptive LUT method in two halves.

    `encode` maps thumbnails to codes of a few numbers, `decode` maps codes to tables. A code
    determines the look: the table can be computed from it at any time. The codes of a local
    network end with the cells of a map (see `LutBatch.maps`).

    Attributes:
        architecture: the name in model cards.
        has_shaper: whether the tables come with shapers.
        half_codes: whether look tokens hold codes in half precision, which moves no pixel by more
            than one level.
        map_shape: (K - 1, L, H, W) of the maps, or None where one table holds for all of an image.
        code_size: K, the length of a code without its map.
        lut_size: D, the number of lattice points on each axis of the table.
        hparams: the arguments of the constructor, for the model card.
        trunk: the backbone; its name is part of the names of stored weights.
    """

    architecture: ClassVar[str]
    has_shaper: ClassVar[bool] = False
    half_codes: ClassVar[bool] = False
    map_shape: tuple[int, int, int, int] | None = None
    trunk: Backbone

    def __init__(self, code_size: int, d: int, **hparams: float | None) -> None:
        super().__init__()
        self.code_size, self.lut_size = code_size, d
        self.hparams: dict[str, float | None] = {**hparams, "d": d}

    @property
    def is_local(self) -> bool:
        """Whether the LUTs have maps."""
        return self.map_shape is not None

    @property
    def map_size(self) -> int:
        """The number of cells of a map; 0 where there are none."""
        return prod(self.map_shape) if self.map_shape else 0

    def encode(self, thumbnails: Tensor) -> Tensor:
        """Map thumbnails float32 (B, 3, 256, 256) in 0..1 to codes float32 (B, K)."""
        return self.codes(self.features(thumbnails))

    def features(self, thumbnails: Tensor) -> Tensor:
        """Map thumbnails, not normalised, to the features (B, C, 8, 8) of the backbone."""
        features: Tensor = self.trunk(thumbnails)
        return features

    @abstractmethod
    def codes(self, features: Tensor) -> Tensor:
        """Map features (B, C, 8, 8) to codes (B, K)."""

    @abstractmethod
    def decode(self, codes: Tensor) -> LutBatch:
        """Map codes float32 (B, K) to tables."""

    def quantise(self, codes: Tensor) -> Tensor:
        """Round codes to those that look tokens hold: maps to 255ths."""
        weights, cells = codes[:, : self.code_size], codes[:, self.code_size :]
        if self.half_codes:
            weights = weights.half().float()
        if self.map_shape is None:
            return weights
        # Of sums of shares, whose differences never exceed 1 in all.
        sums = cells.view(len(codes), self.map_shape[0], -1).cumsum(dim=1).clamp(0.0, 1.0)
        levels: Tensor = functional.pad((sums * 255.0).round(), (0, 0, 1, 0)).diff(dim=1)
        return torch.cat((weights, levels.flatten(1) / 255.0), dim=1)

    def forward(self, thumbnails: Tensor) -> LutBatch:
        """Map thumbnails to tables."""
        return self.decode(self.encode(thumbnails))


def identity_table(size: int) -> Tensor:
    """Return the identity table: float32 (3, D, D, D), axes [channel][b][g][r]."""
    ramp = torch.linspace(0.0, 1.0, size)
    blue, green, red = torch.meshgrid(ramp, ramp, ramp, indexing="ij")
    return torch.stack((red, green, blue))


WIDTHS = (16, 32, 64, 128, 128)


class Backbone(nn.Sequential):
    """Five 3x3 convolutions of stride 2: (B, 3, 256, 256) -> (B, widths[-1], 8, 8).

    Each convolution is followed by LeakyReLU(0.2) and, except for the last, by an affine
    InstanceNorm. GroupNorm with one channel per group computes the same, faster on a CPU. The
    design is that of Image-Adaptive-3DLUT (Zeng et al., TPAMI 2020, section 3.3), which CLUT-Net,
    AdaInt and SepLUT adopted.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        layers: list[nn.Module] = []
        for channels_in, channels_out in pairwise((3, *widths)):
            layers += [
                nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=2, padding=1),
                nn.LeakyReLU(0.2),
                nn.GroupNorm(channels_out, channels_out),
            ]
        super().__init__(*layers[:-1])


class Checkpoint:
    """A flat state dict from which each tensor is taken once, with its shape checked.

    Its names and shapes are those under which the authors of a method published it.
    """

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self._tensors = dict(tensors)

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Checkpoint:
        """Read checkpoints into one state dict; the names of nested dicts are joined by dots.

        Only tensors are unpickled (`weights_only`), so a hostile file cannot run code.

        Raises:
            BadModel: a file cannot be read, or holds no state dict.
        """
        tensors: dict[str, Tensor] = {}
        for path in paths:
            try:
                content = torch.load(path, weights_only=True, map_location="cpu")
            except Exception as error:  # torch.load raises errors of many types
                raise BadModel(f"{path}: cannot be read as a checkpoint") from error
            if not isinstance(content, dict):
                raise BadModel(f"{path}: holds a {type(content).__name__} instead of a state dict")
            tensors |= _flatten(content.get("state_dict", content))
        return cls(tensors)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def shape(self, name: str, *expected: int | None) -> tuple[int, ...]:
        """Return the shape of a tensor; None in `expected` matches any size.

        Raises:
            BadModel: the tensor is missing or its shape differs.
        """
        if name not in self._tensors:
            raise BadModel(f"tensor {name} is missing")
        shape = tuple(self._tensors[name].shape)
        fits = len(shape) == len(expected) and all(
            want in (None, size) for want, size in zip(expected, shape, strict=True)
        )
        if not fits:
            wanted = ", ".join("?" if want is None else str(want) for want in expected)
            raise BadModel(f"tensor {name} has shape {shape}, expected ({wanted})")
        return shape

    def take(self, name: str, *expected: int | None) -> Tensor:
        """Remove a tensor and return it as float32.

        Raises:
            BadModel: the tensor is missing, of another shape, or holds NaN or infinity.
        """
        self.shape(name, *expected)
        tensor = self._tensors.pop(name).float()
        if not tensor.isfinite().all():
            raise BadModel(f"tensor {name} holds NaN or infinity")
        return tensor

    def take_backbone(self, backbone: Backbone, name_of: Callable[[int], str]) -> dict[str, Tensor]:
        """Take the tensors of the backbone under the names of the networks here.

        Args:
            backbone: with parameters of the expected shapes.
            name_of: maps the index of a layer to the published name of the layer.
        """
        taken = {}
        for own, parameter in backbone.named_parameters():
            layer, kind = own.split(".")
            taken[f"trunk.{own}"] = self.take(f"{name_of(int(layer))}.{kind}", *parameter.shape)
        return taken

    def load_into(self, module: nn.Module) -> None:
        """Load all tensors into a module whose submodules are named as in the checkpoint.

        Raises:
            BadModel: as `take` and `finish`.
        """
        state = module.state_dict()
        module.load_state_dict({name: self.take(name, *own.shape) for name, own in state.items()})
        self.finish()

    def finish(self) -> None:
        """Require that every tensor was taken.

        Raises:
            BadModel: a tensor is left, so the checkpoint belongs to another network.
        """
        if self._tensors:
            name, tensor = next(iter(self._tensors.items()))
            raise BadModel(f"tensor {name} {tuple(tensor.shape)} does not belong to this network")


def _flatten(content: dict[str, Any], prefix: str = "") -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            tensors |= _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, Tensor):
            tensors[f"{prefix}{key}"] = value
    return tensors
