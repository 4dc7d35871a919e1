"""Reading the state dicts that the methods' authors published, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from app.errors import BadModel
from app.networks.backbone import Backbone


class Checkpoint:
    """A flat state dict from which each tensor is taken once, its shape checked."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self._tensors = dict(tensors)

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Checkpoint:
        """Reads checkpoints into one state dict; nested dicts are joined by dots.

        Only tensors are unpickled (`weights_only`), so a hostile file cannot run code.

        Raises:
            BadModel: a file cannot be read, or holds no tensors.
        """
        tensors: dict[str, Tensor] = {}
        for path in paths:
            try:
                content = torch.load(path, weights_only=True, map_location="cpu")
            except Exception as error:  # torch.load has no error of its own: any type may come
                raise BadModel(f"{path}: not a checkpoint that can be read") from error
            if not isinstance(content, dict):
                raise BadModel(f"{path}: holds no state dict but a {type(content).__name__}")
            tensors |= _flatten(content.get("state_dict", content))
        return cls(tensors)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def shape(self, name: str, *expected: int | None) -> tuple[int, ...]:
        """The shape of a tensor; None in `expected` stands for any size.

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
        """Removes and returns a tensor as float32.

        Raises:
            BadModel: it is missing, of another shape, or holds NaN or infinity.
        """
        self.shape(name, *expected)
        tensor = self._tensors.pop(name).float()
        if not tensor.isfinite().all():
            raise BadModel(f"tensor {name} holds NaN or infinity")
        return tensor

    def trunk(self, trunk: Backbone, name_of: Callable[[int], str]) -> dict[str, Tensor]:
        """Takes the trunk's tensors; `name_of` gives the published name of its i-th layer."""
        taken = {}
        for own, parameter in trunk.named_parameters():
            layer, kind = own.split(".")
            taken[f"trunk.{own}"] = self.take(f"{name_of(int(layer))}.{kind}", *parameter.shape)
        return taken

    def finish(self) -> None:
        """Raises BadModel if a tensor was left: the checkpoint is of something else."""
        if self._tensors:
            name, tensor = next(iter(self._tensors.items()))
            raise BadModel(f"tensor {name} {tuple(tensor.shape)} has no place in this network")


def _flatten(content: dict[str, Any], prefix: str = "") -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            tensors |= _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, Tensor):
            tensors[f"{prefix}{key}"] = value
    return tensors
