"""One request's way through the house: admission, decode, predict, apply, encode."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

from app.errors import BadParameter, CorruptedLook, DeadlineExceeded
from app.imaging.probe import EncodedImage, probe
from app.imaging.sandbox import Sandbox
from app.luts.export import LutOptions
from app.luts.token import LookToken
from app.networks.store import Model, ModelRegistry
from app.policies import BatchPolicy, Limits, LutPolicy
from app.serving.admission import Admission
from app.serving.batching import Batcher
from app.serving.device import Device, Prediction
from app.serving.lut_export import LutCache, LutFile, memory_cost
from app.serving.model_runners import ModelRunners, Thumbnail
from app.serving.options import EnhancedImage, EnhanceOptions, Look
from app.serving.stages import apply_and_encode, decode_image, decode_thumbnail, write_lut_file
from app.serving.thread_pool import PriorityThreadPool, priority_of
from app.serving.timings import Timings
from app.serving.warmup import WarmUp, compile_loops

R = TypeVar("R")

LARGEST_ENTRY = 100.0  # of a table: a forged code must not reach what arithmetic cannot hold


class EnhancementService:
    """The service without HTTP.

    Attributes:
        draining: set by whoever is about to leave; requests are still answered.

    An async context manager: entering starts the workers and the batchers and begins to warm up;
    leaving closes the door, answers everything that was admitted, and ends the threads.
    """

    def __init__(
        self,
        load: Callable[[], ModelRegistry],
        device: Device,
        admission: Admission,
        workers: PriorityThreadPool,
        isolation: Sandbox,
        *,
        batch: BatchPolicy,
        luts: LutPolicy,
        limits: Limits,
        deadline: float | None,
    ) -> None:
        self.registry = load()
        self.admission = admission
        self.draining = False
        self._load = load
        self._reloading = asyncio.Lock()
        self._device = device
        self._runners = ModelRunners(device, batch)
        self._luts = LutCache(luts)
        self._limits = limits
        self._deadline = deadline
        self._jobs: set[asyncio.Task[Any]] = set()
        self._workers = workers
        self._isolation = isolation
        self._resources = AsyncExitStack()
        self._warm_up = WarmUp(self._warm)

    async def __aenter__(self) -> Self:
        await self._resources.enter_async_context(self._device)
        self._resources.enter_context(self._isolation)
        await self._resources.enter_async_context(self._workers)
        await self._resources.enter_async_context(self._runners)
        await self._runners.start(self.registry.models)
        await self._resources.enter_async_context(self._warm_up)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.admission.closed = True
        while self._jobs:
            await asyncio.wait(self._jobs)
        await self._resources.aclose()

    @property
    def device(self) -> str:
        """The hardware's name, such as "cpu" or "cuda:0"."""
        return self._device.name

    @property
    def device_memory(self) -> int:
        """Bytes of a GPU's memory that are held; 0 without one."""
        return self._device.memory

    @property
    def warm(self) -> bool:
        """Whether the warm-up has run through on the device."""
        return self._warm_up.done

    @property
    def ready(self) -> bool:
        """Whether new requests are welcome."""
        return self.warm and not (self.draining or self.admission.closed)

    @property
    def alive(self) -> bool:
        """Whether every loop that requests depend on is running, and the warm-up did not fail."""
        return self._runners.alive and self._device.healthy and not self._warm_up.failed

    @property
    def batchers(self) -> dict[str, Batcher[Thumbnail, Prediction]]:
        """The batchers of the models that are served, by NAME@VERSION."""
        return {model.card.model_ref: self._runners[model] for model in self.registry.models}

    async def wait_until_warm(self) -> None:
        """Waits until the warm-up has run through; the networks are not in their place before.

        Raises:
            Exception: what it failed with.
        """
        await self._warm_up.wait()

    async def reload(self) -> None:
        """Reads the model store again; requests under way end with the models they began with.

        Raises:
            Problem: the default model is not there or cannot be read; nothing has changed.
        """
        async with self._reloading:
            await self.wait_until_warm()
            fresh = (await asyncio.to_thread(self._load)).reuse_loaded(self.registry.models)
            known = self._runners.models
            new = [model for model in fresh.models if model not in known]
            await self._runners.warm_up(new)
            await self._runners.start(new)
            self.registry = fresh
            self._luts.clear()
            if self._jobs:
                await asyncio.wait(set(self._jobs))
                self._luts.clear()  # of what they still made
            await self._runners.stop(model for model in known if model not in fresh.models)

    async def enhance(
        self, body: bytes, options: EnhanceOptions, timings: Timings
    ) -> EnhancedImage:
        """Enhances a photograph.

        Raises:
            Problem: the body, the wish, the load or the deadline; see `app.errors`.
        """
        return await self._within_deadline(self._enhance(body, options, timings))

    async def predict_lut(
        self, body: bytes, options: EnhanceOptions, lut_options: LutOptions, timings: Timings
    ) -> LutFile:
        """Writes the LUT for a photograph; reads no more of it than the thumbnail needs.

        Raises:
            Problem: as `enhance`.
        """
        return await self._within_deadline(self._predict_lut(body, options, lut_options, timings))

    async def get_lut(self, token: str, lut_options: LutOptions) -> LutFile:
        """Makes and writes the LUT of a look token again.

        Raises:
            MalformedLook, TruncatedLook, CorruptedLook: the token is not whole.
            UnknownLook: its model is not here.
            Problem: the load or the deadline.
        """
        kept = self._luts.get((token, lut_options))
        if kept is not None:
            return kept
        return await self._within_deadline(self._recall_lut(token, lut_options))

    async def _recall(self, token: str) -> Look:
        content = LookToken.decode(token)
        model = self.registry.get_by_fingerprint(content.fingerprint)
        if content.code.size != model.network.code_size:
            raise CorruptedLook(
                f"The token holds {content.code.size} numbers; "
                f"{model.card.model_ref} takes {model.network.code_size}."
            )
        await self.wait_until_warm()
        try:
            lut = await self._device.decode(model.network, content.code)
        except ValueError as error:  # the numbers overflow
            raise CorruptedLook(f"The token's numbers make no LUT: {error}.") from error
        if np.abs(lut.table).max() > LARGEST_ENTRY:
            raise CorruptedLook("The token's numbers make no LUT: its colours are absurd.")
        return Look(model.card, token, lut)

    async def _enhance(
        self, body: bytes, options: EnhanceOptions, timings: Timings
    ) -> EnhancedImage:
        with self.admission.request():
            model = self.registry.get(options.model)
            given = await self._given_look(options)
            timings.model = (given.card if given else model.card).model_ref
            source = await self._opened(body)
            timings.pixels = source.pixels
            await options.spend(source.pixels)
            turn = priority_of(monotonic(), source.pixels)
            async with self.admission.pixels(source.pixels, turn):
                photo, small = await self._workers.run(
                    turn, decode_image, source, model, options, timings
                )
                look = given or await self._predicted_look(model, small, timings)
                share = partial(self._workers.parallel_map, turn)
                return await self._workers.run(
                    turn, apply_and_encode, photo, look, options, timings, self._device, share
                )

    async def _predict_lut(
        self, body: bytes, options: EnhanceOptions, lut_options: LutOptions, timings: Timings
    ) -> LutFile:
        with self.admission.request():
            model = self.registry.get(options.model)
            timings.model = model.card.model_ref
            source = await self._opened(body)
            timings.pixels = source.thumbnail_pixels(model.card.thumbnail.size)
            await options.spend(timings.pixels)
            turn = priority_of(monotonic(), timings.pixels)
            async with self.admission.pixels(timings.pixels, turn):
                small = await self._workers.run(turn, decode_thumbnail, source, model, timings)
            look = await self._predicted_look(model, small, timings)
            return await self._written(look, lut_options, timings)

    async def _recall_lut(self, token: str, lut_options: LutOptions) -> LutFile:
        with self.admission.request():
            file = await self._written(await self._recall(token), lut_options, Timings())
            self._luts.put(token, lut_options, file)
            return file

    async def _opened(self, body: bytes) -> EncodedImage:
        limits, isolation = self._limits, self._isolation
        return await self._workers.run(monotonic(), probe, body, limits, isolation)

    async def _written(self, look: Look, options: LutOptions, timings: Timings) -> LutFile:
        cost = memory_cost(look, options)
        turn = priority_of(monotonic(), cost)
        async with self.admission.pixels(cost, turn):
            return await self._workers.run(turn, write_lut_file, look, options, timings)

    async def _given_look(self, options: EnhanceOptions) -> Look | None:
        if options.look is None:
            return None
        look = await self._recall(options.look)
        asked = None if options.model is None else self.registry.get(options.model).card
        if asked is not None and asked.fingerprint != look.card.fingerprint:
            raise BadParameter(
                f"model={options.model} does not match the model of this look, "
                f"{look.card.model_ref}."
            )
        return look

    async def _predicted_look(self, model: Model, small: Thumbnail, timings: Timings) -> Look:
        await self.wait_until_warm()
        timings.stage = "predict"
        prediction = await self._runners[model].submit(small)
        timings.record("predict", prediction.seconds)
        token = LookToken(model.card.fingerprint, prediction.code)
        return Look(model.card, token.encode(half=model.network.half_codes), prediction.lut)

    async def _within_deadline(self, work: Coroutine[Any, Any, R]) -> R:
        """Runs work as a job of its own, which the caller may leave behind.

        The answer does not wait for the thread that an expired or departed request still
        occupies; the job keeps its permits until that thread is free.
        """
        job = asyncio.create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        try:
            async with asyncio.timeout(self._deadline):
                return await asyncio.shield(job)
        except TimeoutError:
            late = f"The answer was not ready within {self._deadline} seconds."
            raise DeadlineExceeded(late) from None
        finally:
            job.cancel()

    async def _warm(self) -> None:
        await self._workers.run(monotonic(), compile_loops, [self._device.interpolation])
        await self._runners.warm_up(self.registry.models)
        # What is here now stays: to look whether it is garbage would stop everybody for 0.15 s,
        # again and again.
        gc.freeze()
