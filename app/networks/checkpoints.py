"""State dicts as the authors of the methods published them, read tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from app.errors import BadModel
from app.networks.base import Backbone


class Checkpoint:
    """A flat state dict from which each tensor is taken once, with its shape checked."""

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
        """Take the tensors of the backbone under the names that our networks give them.

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
