"""The models that are served: each has batches of its own; a reload replaces them in operation."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from app.networks.store import Model, ModelRegistry
from app.policies import BatchPolicy
from app.serving.batching import Batcher
from app.serving.device import Device, Prediction
from app.serving.warmup import WarmUp, compile_loops

Thumbnail = NDArray[np.float32]  # (3, S, S)


class _Runner:
    """A model's batcher, and the requests that use it."""

    def __init__(self, batcher: Batcher[Thumbnail, Prediction]) -> None:
        self.batcher = batcher
        self.unused = asyncio.Event()
        self.unused.set()
        self._users = 0

    @contextmanager
    def use(self) -> Iterator[None]:
        """Count a user for as long as the context lasts."""
        self._users += 1
        self.unused.clear()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self.unused.set()


class ModelRunners:
    """The models that are served, and the device that runs them.

    Attributes:
        registry: the models, by name and by fingerprint.
        device: where the networks are.

    An async context manager: entering starts the batchers and begins to warm up; leaving ends
    the batchers and the device.
    """

    def __init__(
        self, load: Callable[[], ModelRegistry], device: Device, policy: BatchPolicy
    ) -> None:
        """Read the models.

        Args:
            load: reads the model store.
            device: runs the networks.
            policy: how batches are formed.

        Raises:
            Problem: as `load` does.
        """
        self.registry = load()
        self.device = device
        self._load = load
        self._policy = policy
        self._runners: dict[Model, _Runner] = {}
        self._reloading = asyncio.Lock()
        self._warm_up = WarmUp(self._warm)
        self._resources = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._resources.enter_async_context(self.device)
        self._resources.push_async_callback(self._stop_all)
        await self._start(self.registry.models)
        await self._resources.enter_async_context(self._warm_up)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._resources.aclose()

    @property
    def alive(self) -> bool:
        """Whether every batcher runs, the device is healthy, and the warm-up did not fail."""
        running = all(runner.batcher.alive for runner in self._runners.values())
        return running and self.device.healthy and not self._warm_up.failed

    @property
    def warm(self) -> bool:
        """Whether every network has run on the device."""
        return self._warm_up.done

    @property
    def batchers(self) -> dict[str, Batcher[Thumbnail, Prediction]]:
        """The batchers of the models that are served, by NAME@VERSION."""
        return {it.card.model_ref: self._runners[it].batcher for it in self.registry.models}

    async def wait_until_warm(self) -> None:
        """Wait until the networks are on the device.

        Raises:
            Exception: what the warm-up failed with.
        """
        await self._warm_up.wait()

    @contextmanager
    def use(self, model: Model) -> Iterator[None]:
        """Keep the batcher of a model that is served, for as long as the context lasts."""
        with self._runners[model].use():
            yield

    async def predict(self, model: Model, thumbnail: Thumbnail) -> Prediction:
        """Run a model that is in use on a thumbnail, in the next batch.

        Raises:
            Exception: whatever the device or the warm-up failed with.
        """
        await self.wait_until_warm()
        return await self._runners[model].batcher.submit(thumbnail)

    async def reload(self) -> None:
        """Read the model store again; requests in flight end with the models they began with.

        Raises:
            Problem: the default model is missing or cannot be read; nothing has changed.
        """
        async with self._reloading:
            await self.wait_until_warm()
            fresh = (await asyncio.to_thread(self._load)).reuse_loaded(self.registry.models)
            new = [model for model in fresh.models if model not in self._runners]
            old = [model for model in self._runners if model not in fresh.models]
            await self._warm_up_models(new)
            await self._start(new)
            self.registry = fresh
            for model in old:
                await self._runners[model].unused.wait()
            await self._stop(old)

    async def _warm(self) -> None:
        await asyncio.to_thread(compile_loops, [self.device.interpolation])
        await self._warm_up_models(self.registry.models)
        # Without the freeze every full collection examines what is loaded now, which stops all
        # threads for 0.15 s.
        gc.freeze()

    async def _warm_up_models(self, models: Iterable[Model]) -> None:
        for model in models:
            size = model.card.thumbnail.size
            await self.device.warm_up(model.network, size, self._policy.max_size)

    async def _start(self, models: Iterable[Model]) -> None:
        for model in models:
            run = partial(self.device.predict, model.network, self._policy.max_size)
            self._runners[model] = _Runner(await Batcher(run, self._policy).__aenter__())

    async def _stop(self, models: Iterable[Model]) -> None:
        for model in models:
            await self._runners.pop(model).batcher.__aexit__(None, None, None)

    async def _stop_all(self) -> None:
        await self._stop(list(self._runners))
