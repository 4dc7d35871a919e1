"""The models that are served, each with batches of its own; they come and go while others run."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from app.networks.store import Model
from app.policies import BatchPolicy
from app.serving.batching import Batcher
from app.serving.device import Device, Prediction

Thumbnail = NDArray[np.float32]  # (3, S, S)


class ModelRunners:
    """A batcher for every model.

    An async context manager: leaving ends all of them.
    """

    def __init__(self, device: Device, policy: BatchPolicy) -> None:
        self._device = device
        self._policy = policy
        self._batchers: dict[Model, Batcher[Thumbnail, Prediction]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop(self.models)

    @property
    def models(self) -> list[Model]:
        """The models whose batchers run."""
        return list(self._batchers)

    @property
    def alive(self) -> bool:
        """Whether the loop of every batcher is running."""
        return all(batcher.alive for batcher in self._batchers.values())

    def __getitem__(self, model: Model) -> Batcher[Thumbnail, Prediction]:
        """The batcher of a model that was begun and not yet ended."""
        return self._batchers[model]

    async def start(self, models: Iterable[Model]) -> None:
        """Starts their batchers."""
        for model in models:
            run = partial(self._device.predict, model.network, self._policy.max_size)
            self._batchers[model] = await Batcher(run, self._policy).__aenter__()

    async def warm_up(self, models: Iterable[Model]) -> None:
        """Moves networks to the device, and runs every batch size in use once.

        Raises:
            Exception: whatever the device raises.
        """
        for model in models:
            size = model.card.thumbnail.size
            await self._device.warm_up(model.network, size, self._policy.max_size)

    async def stop(self, models: Iterable[Model]) -> None:
        """Stops their batchers; nobody may be waiting for an answer of theirs."""
        for model in models:
            await self._batchers.pop(model).__aexit__(None, None, None)
