"""The network of a video: codes from thumbnails, LUTs from codes, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from app.luts.apply import Pixels
from app.luts.local_lut import Places, flatten
from app.luts.lut3d import Lut3D
from app.luts.token import LookToken
from app.networks.base import ThumbnailRecipe
from app.networks.store import Model, ModelRegistry, read_registry
from app.serving.device import Device
from app.serving.looks import (
    check_model_of_look,
    decode_token,
    full_code,
    make_token,
    read_token,
)
from app.settings import Settings


class LookNetwork:
    """Runs a model on the device, with calls that block; a context manager."""

    def __init__(self, device: Device, model: Model, batch: int) -> None:
        """Hold a model; `batch` thumbnails pass through the network at once, at most."""
        self._device, self._model = device, model
        self.batch = batch
        self._loop = asyncio.new_event_loop()
        # `asyncio.Runner` would format the result of each call, arrays included, as it looks up
        # the handler of SIGINT.
        self._run = self._loop.run_until_complete

    def __enter__(self) -> Self:
        self._run(self._device.__aenter__())
        recipe = self._model.card.thumbnail
        self._run(self._device.warm_up(self._model.network, recipe.size, self.batch))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._run(self._device.__aexit__(kind, error, traceback))
        self._loop.close()

    @property
    def recipe(self) -> ThumbnailRecipe:
        """How thumbnails are made."""
        return self._model.card.thumbnail

    @property
    def model_ref(self) -> str:
        """NAME@VERSION of the model."""
        return self._model.card.model_ref

    @property
    def fingerprint(self) -> bytes:
        """The fingerprint of the model."""
        return self._model.card.fingerprint

    def encode(self, thumbnails: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Predict codes (B, K) from thumbnails (3, S, S).

        Raises:
            ValueError: there are none, or more than `batch`.
        """
        if not 1 <= len(thumbnails) <= self.batch:
            raise ValueError(f"{len(thumbnails)} thumbnails do not fit a batch of {self.batch}")
        network = self._model.network
        predictions = self._run(self._device.predict(network, self.batch, thumbnails))
        return np.stack([it.code for it in predictions])

    def decode(self, code: NDArray[np.float32]) -> Lut3D:
        """Return the LUT of a code (K,); that of a local look is flattened.

        Raises:
            CorruptedLook: the numbers make no LUT.
        """
        content = self._token(code)
        return flatten(self._run(decode_token(self._device, self._model, content)))

    def applier(self, lut: Lut3D, dtype: DTypeLike) -> Callable[[Pixels], None]:
        """Prepare a LUT for pixels; see `Device.applier`."""
        apply = self._device.applier(lut, dtype)
        return lambda pixels: apply(pixels, Places.of_image(*pixels.shape[:2]))

    def token(self, code: NDArray[np.float32]) -> str:
        """Return the look token of a code (K,)."""
        return self._token(code).encode(half=self._model.network.half_codes)

    def _token(self, code: NDArray[np.float32]) -> LookToken:
        return make_token(self._model, code)


def open_network(
    settings: Settings, model: str | None, look: str | None
) -> tuple[LookNetwork, NDArray[np.float32] | None]:
    """Read a model of the store; return it with the code of a look token.

    Args:
        settings: name the store, the device and the batches.
        model: NAME or NAME@VERSION; None is the default, or the model of the look.
        look: a look token, or None.

    Raises:
        BadParameter: the look was made by another model.
        Problem: the model or the look cannot be used.
    """
    registry = read_registry(settings.models.store, settings.models.default)
    chosen, code = _choose(registry, model, look)
    return LookNetwork(Device(settings.device), chosen, settings.batch.max_size), code


def _choose(
    registry: ModelRegistry, model: str | None, look: str | None
) -> tuple[Model, NDArray[np.float32] | None]:
    if look is None:
        return registry.get(model), None
    given = read_token(registry, look)
    check_model_of_look(registry, given.model.card, model)
    return given.model, full_code(given.model, given.content)
