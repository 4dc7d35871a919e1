"""The service without HTTP: the way of one request through decode, predict, apply and encode."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Self, TypeVar

from app.imaging.codecs import ImageFormat
from app.imaging.decode import TruncatedPolicy
from app.imaging.probe import probe
from app.imaging.sandbox import Sandbox
from app.luts.export import LutOptions
from app.policies import BYTES_PER_PIXEL, Limits
from app.restoration.store import Restorers
from app.serving.admission import Admission
from app.serving.looks import (
    LutCache,
    check_model_of_look,
    export_lut,
    export_memory,
    find_token_model,
    rebuild_look,
    to_look,
)
from app.serving.model_runners import ModelRunners, Thumbnail
from app.serving.opened_image import OpenedImage
from app.serving.options import AcceptedFormats, EnhanceOptions
from app.serving.permit import Permit
from app.serving.restoration import (
    OutputLimits,
    find_cleaner,
)
from app.serving.results import EnhancedImage, ExportedLut, Look, PredictedLut
from app.serving.stages import (
    apply_and_encode,
    convert,
    decode_image,
    decode_thumbnail,
    find_frame,
)
from app.serving.thread_pool import PriorityThreadPool, priority_of

R = TypeVar("R")

STUCK_FACTOR = 4  # deadlines that a call on a thread may take before it counts as stuck


class EnhancementService:
    """Enhances images and exports LUTs.

    Attributes:
        models: the models that are served.
        restorers: the restoration models that are served.
        admission: issues the permits that every request needs.
        sandbox: where untrusted files are decoded.
        draining: set when the server is about to stop; requests are still accepted.

    An async context manager: entering starts the threads and the models; leaving admits no
    further request, completes those in flight, and ends the threads.
    """

    def __init__(
        self,
        models: ModelRunners,
        load_restorers: Callable[[], Restorers],
        admission: Admission,
        workers: PriorityThreadPool,
        sandbox: Sandbox,
        luts: LutCache,
        limits: Limits,
    ) -> None:
        self.models = models
        self.restorers = load_restorers()
        self._load_restorers = load_restorers
        self.admission = admission
        self.draining = False
        self._workers = workers
        self.sandbox = sandbox
        self._luts = luts
        self._limits = limits
        self._resources = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._resources.enter_context(self.sandbox)
        await self._resources.enter_async_context(self._workers)
        self._workers.submit(monotonic(), self.sandbox.warm_up)  # beside that of the models
        await self._resources.enter_async_context(self.models)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.admission.close()
        await self._resources.aclose()

    @property
    def ready(self) -> bool:
        """Whether new requests are accepted and will be served without delay."""
        return self.models.warm and not (self.draining or self.admission.closed)

    @property
    def alive(self) -> bool:
        """Whether the service can recover by itself; otherwise the process must be restarted."""
        deadline = self.admission.deadline
        stuck = deadline is not None and self._workers.longest_call > STUCK_FACTOR * deadline
        return self.models.alive and not stuck

    async def reload(self) -> None:
        """Read the model store again; see `ModelRunners.reload`."""
        await self.models.reload()
        self.restorers = await asyncio.to_thread(self._load_restorers)
        self._luts.clear()

    async def open(
        self, permit: Permit, body: bytes, model: str | None = None, look: str | None = None
    ) -> OpenedImage:
        """Read the header of an image, and find its model or look.

        Nothing is decoded yet: the caller may reject the request by the memory that it takes.

        Args:
            permit: of the request; its body has arrived.
            body: the file.
            model: NAME or NAME@VERSION, or None for the default or the look's own.
            look: a look token, or None to predict a look.

        Raises:
            Problem: the file, the model or the look is not accepted, or the deadline has passed.
        """
        async with permit.within_deadline():
            given = None if look is None else await rebuild_look(self.models, look)
            if given is not None:
                check_model_of_look(self.models.registry, given.card, model)
            chosen = self.models.registry.get(model)
            permit.keep(self.models.use(chosen))
            probing = partial(probe, body, self._limits, self.sandbox, permit.expires_at)
            source = await permit.run(self._workers, monotonic(), probing)
            limits = OutputLimits(self._limits, self.admission.memory_bytes)
            return OpenedImage(permit, source, chosen, given, self.restorers, limits)

    async def enhance(
        self, opened: OpenedImage, options: EnhanceOptions, accepted: AcceptedFormats = ()
    ) -> EnhancedImage:
        """Enhance an image.

        Args:
            opened: the image.
            options: how; `model` and `look` are those that the image was opened with.
            accepted: the formats that the client accepts.

        Raises:
            Problem: the image is damaged, an option does not fit it, or the deadline has passed.
        """
        opened, image_format = opened.choose(options, accepted)
        if opened.source.header.animation is not None:
            return await self._enhance_animation(opened, options, image_format)
        permit, source = opened.permit, opened.source
        async with permit.within_deadline():
            priority = priority_of(monotonic(), source.pixels)
            cleaner = find_cleaner(opened.restorers, options)
            enlargement = opened.plan_enlargement(options, image_format)
            await permit.reserve_memory(opened.enhance_memory(options, accepted), priority)
            recipe = opened.model.card.thumbnail
            decoding = partial(decode_image, source, recipe, options)
            image, thumbnail = await permit.run_stage(self._workers, priority, "decode", decoding)
            look = opened.look or await self._predict(opened, thumbnail)
            parallel_map = partial(self._workers.parallel_map, priority)
            finishing = partial(apply_and_encode, permit, source, image, look, options)
            steps = (image_format, cleaner, enlargement, self.models.device, parallel_map)
            body, change, applied, cleaning = await permit.run(
                self._workers, priority, finishing, *steps
            )
            notes = () if body is source.body else image.notes
            return EnhancedImage(
                body,
                image_format,
                look,
                change,
                applied,
                permit.timings(),
                cleaning,
                enlargement.factor,
                tuple(model.card.model_ref for model in enlargement.models),
                notes,
            )

    async def _enhance_animation(
        self, opened: OpenedImage, options: EnhanceOptions, image_format: ImageFormat
    ) -> EnhancedImage:
        """Enhance an animation; see `enhance`."""
        permit, source = opened.permit, opened.source
        async with permit.within_deadline():
            priority = priority_of(monotonic(), source.all_pixels)
            await permit.reserve_memory(opened.animation_memory(options), priority)
            finding = partial(find_frame, source, opened.model.card.thumbnail)
            frame = await permit.run_stage(self._workers, priority, "decode", finding)
            look = opened.look or await self._predict(opened, frame.thumbnail)
            finishing = partial(
                convert, permit, source, frame, look, options, image_format, self.models.device
            )
            body, change, applied = await permit.run(self._workers, priority, finishing)
            return EnhancedImage(body, image_format, look, change, applied, permit.timings())

    async def predict_lut(
        self,
        opened: OpenedImage,
        options: LutOptions,
        truncated: TruncatedPolicy,
        *,
        gzipped: bool = False,
    ) -> PredictedLut:
        """Export the LUT for an image; decodes no more of it than the thumbnail needs.

        Raises:
            Problem: as `enhance`.
        """
        permit = opened.permit
        async with permit.within_deadline():
            recipe = opened.model.card.thumbnail
            source = opened.source
            animated = source.header.animation is not None
            pixels = source.all_pixels if animated else source.thumbnail_pixels(recipe.size)
            priority = priority_of(monotonic(), pixels)
            await permit.reserve_memory(opened.predict_memory(options), priority)
            decoding = partial(decode_thumbnail, source, recipe, truncated)
            thumbnail, notes = await permit.run_stage(self._workers, priority, "decode", decoding)
            look = await self._predict(opened, thumbnail)
            exporting = partial(export_lut, look, options, gzipped=gzipped)
            file = await permit.run_stage(self._workers, priority, "encode", exporting)
            return PredictedLut(file, permit.timings(), notes)

    def lut_memory(self, token: str, options: LutOptions) -> int:
        """Return the most bytes of memory that `get_lut` takes.

        Raises:
            Problem: the token is damaged, or its model is not served.
        """
        model, _ = find_token_model(self.models.registry, token)
        return export_memory(model, options)

    def find_lut(self, token: str, options: LutOptions, *, gzipped: bool) -> ExportedLut | None:
        """Return the LUT of a look token from the cache, which needs no permit.

        Raises:
            Problem: the token is damaged, or its model is not served.
        """
        find_token_model(self.models.registry, token)
        return self._luts.get((token, options, gzipped))

    async def get_lut(
        self, permit: Permit, token: str, options: LutOptions, *, gzipped: bool = False
    ) -> ExportedLut:
        """Rebuild the LUT of a look token, and export it.

        Raises:
            Problem: the token is damaged, its model is not served, or the deadline has passed.
        """
        async with permit.within_deadline():
            memory = self.lut_memory(token, options)
            priority = priority_of(monotonic(), memory // BYTES_PER_PIXEL)
            await permit.reserve_memory(memory, priority)
            look = await rebuild_look(self.models, token)
            exporting = partial(export_lut, look, options, gzipped=gzipped)
            file = await permit.run_stage(self._workers, priority, "encode", exporting)
            self._luts.put((token, options, gzipped), file)
            return file

    async def _predict(self, opened: OpenedImage, thumbnail: Thumbnail) -> Look:
        opened.permit.stage = "predict"
        prediction = await self.models.predict(opened.model, thumbnail)
        opened.permit.record("predict", prediction.seconds)
        return to_look(opened.model, prediction)
