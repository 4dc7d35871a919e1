"""The models that are served: each has batches of its own; a reload replaces them in operation."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from types import TracebackType
from typing import Self
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from app.errors import BadModel, DeadlineExceeded
from app.networks.store import Model, ModelRegistry
from app.policies import BatchPolicy
from app.restoration.store import Restorers
from app.serving.batching import Batcher
from app.serving.device import Device, Prediction, compile_loops
from app.serving.thread_pool import run_in_daemon

log = logging.getLogger("clut")

Thumbnail = NDArray[np.float32]  # (3, S, S)
RELOAD_TIMEOUT = 60.0  # seconds; reading and warming up a model takes less than one


class WarmUp:
    """Work that the first requests wait for.

    An async context manager: entering starts the work, leaving waits for its end.
    """

    def __init__(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        self._work = work
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._work(), name="warm-up")
        self._task.add_done_callback(_report_failure)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._task is not None:
            await asyncio.wait([self._task])

    @property
    def done(self) -> bool:
        """Whether the work has succeeded."""
        return self._task is not None and self._task.done() and not self.failed

    @property
    def failed(self) -> bool:
        """Whether the work has failed."""
        task = self._task
        return task is not None and task.done() and _failed(task)

    async def wait(self) -> None:
        """Wait for the end of the work.

        Raises:
            Exception: whatever the work failed with.
        """
        if self._task is not None:
            await asyncio.shield(self._task)


def _failed(task: asyncio.Task[None]) -> bool:
    return task.cancelled() or task.exception() is not None


def _report_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("the warm-up failed", exc_info=task.exception())


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
        restorers: the restoration models.
        device: where the networks are.

    An async context manager: entering starts the batchers and begins to warm up; leaving ends
    the batchers and the device.
    """

    def __init__(
        self,
        load: Callable[[], ModelRegistry],
        load_restorers: Callable[[], Restorers],
        device: Device,
        policy: BatchPolicy,
    ) -> None:
        """Read the models.

        Args:
            load: reads the model store.
            load_restorers: reads the restoration models of the store.
            device: runs the networks.
            policy: how batches are formed.

        Raises:
            Problem: as `load` does.
        """
        self.registry = load()
        self.restorers = load_restorers()
        self.device = device
        self._load = load
        self._load_restorers = load_restorers
        self._policy = policy
        self._runners: dict[Model, _Runner] = {}
        self._warm_models: WeakSet[Model] = WeakSet()
        self._retiring: dict[Model, asyncio.Task[None]] = {}  # models that are not served any more
        self._reloading = asyncio.Lock()
        self._next_reload: asyncio.Task[None] | None = None  # has not begun to read
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
            Exception: the error of the warm-up.
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

        Calls that come while one reload runs wait for the same next one, however many they are.

        Raises:
            DeadlineExceeded: the models were not ready in time; nothing has changed.
            Problem: the default model is missing or cannot be used; nothing has changed.
        """
        if self._next_reload is None:
            self._next_reload = asyncio.create_task(self._reload())
        await asyncio.shield(self._next_reload)

    async def _reload(self) -> None:
        async with self._reloading:  # a reload ends by its deadline, so that this one begins
            self._next_reload = None
            try:
                async with asyncio.timeout(RELOAD_TIMEOUT):
                    await self.wait_until_warm()
                    loaded = await run_in_daemon(self._load)
                    restorers = await run_in_daemon(self._load_restorers)
                    await self._serve(loaded.reuse_loaded(self.registry.models))
                    self.restorers = restorers
            except TimeoutError:
                late = f"The models were not ready within {RELOAD_TIMEOUT:g} seconds."
                raise DeadlineExceeded(late) from None

    async def _warm(self) -> None:
        await asyncio.to_thread(compile_loops, [self.device.interpolation])
        await self._serve(self.registry)
        # Without the freeze every full collection examines all objects loaded so far, and stops all
        # threads meanwhile.
        gc.freeze()

    async def _serve(self, registry: ModelRegistry) -> None:
        """Warm up models that have not run yet, and serve a registry without those that fail.

        Raises:
            BadModel: the default model fails; nothing has changed.
        """
        usable = [model for model in registry.models if await self._can_run(model, registry)]
        await self._start(model for model in usable if model not in self._runners)
        self.registry = ModelRegistry(usable, registry.default.card.model_ref)
        for model in self._runners:
            if model not in usable and model not in self._retiring:
                self._retiring[model] = asyncio.create_task(self._stop_when_unused(model))

    async def _can_run(self, model: Model, registry: ModelRegistry) -> bool:
        if model in self._warm_models:
            return True
        card = model.card
        try:
            await self.device.warm_up(model.network, card.thumbnail.size, self._policy.max_size)
        except Exception as error:  # whatever torch raises for a network that does not fit its card
            if model is registry.default:
                raise BadModel(f"the model {card.model_ref} cannot run: {error}") from error
            log.exception("the model %s is left out: it cannot run", card.model_ref)
            return False
        self._warm_models.add(model)
        return True

    async def _start(self, models: Iterable[Model]) -> None:
        for model in models:
            run = partial(self.device.predict, model.network, self._policy.max_size)
            self._runners[model] = _Runner(await Batcher(run, self._policy).__aenter__())

    async def _stop_when_unused(self, model: Model) -> None:
        await self._runners[model].unused.wait()
        await self._runners.pop(model).batcher.__aexit__(None, None, None)
        del self._retiring[model]

    async def _stop_all(self) -> None:
        for task in self._retiring.values():
            task.cancel()
        await asyncio.gather(*self._retiring.values(), return_exceptions=True)
        for runner in self._runners.values():
            await runner.batcher.__aexit__(None, None, None)
