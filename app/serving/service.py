"""The service without HTTP: the way of one request through decode, predict, apply and encode."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Self

from app.imaging.decode import TruncatedPolicy
from app.imaging.probe import EncodedImage, probe
from app.imaging.sandbox import Sandbox
from app.luts.export import LutOptions
from app.luts.lut3d import Lut3D
from app.networks.store import Model
from app.policies import Limits
from app.serving.admission import Admission
from app.serving.looks import (
    LutCache,
    LutExporter,
    adapt_look,
    check_model_of_look,
    is_brief_export,
    rebuild_look,
    to_look,
)
from app.serving.model_runners import ModelRunners, Thumbnail
from app.serving.opened_image import EnhancePlan, OpenedImage
from app.serving.options import EnhanceOptions, PredictLutOptions
from app.serving.permit import Permit
from app.serving.restoration import OutputLimits
from app.serving.results import EnhancedImage, Look, PredictedLut
from app.serving.stages import apply_and_encode, decode, decode_thumbnail
from app.serving.thread_pool import BriefPriority, PriorityThreadPool, priority_of

STUCK_FACTOR = 4  # deadlines that a call on a thread may take before it counts as stuck
BRIEF_PIXELS = 16_000_000  # of a JPEG, which take half a second
SANDBOX_WEIGHT = 4  # time of a pixel in the sandbox, in times of one of a JPEG outside it


class EnhancementService:
    """Enhances images and exports LUTs.

    Attributes:
        models: the models that are served.
        luts: exports the LUTs of look tokens.
        admission: issues the permits that every request needs.
        sandbox: where untrusted files are decoded.
        draining: set when the server is about to stop; requests are still accepted.

    An async context manager: entering starts the threads and the models; leaving admits no
    further request, completes those in flight, and ends the threads.
    """

    def __init__(
        self,
        models: ModelRunners,
        admission: Admission,
        workers: PriorityThreadPool,
        sandbox: Sandbox,
        cache: LutCache,
        limits: Limits,
    ) -> None:
        self.models = models
        self.luts = LutExporter(models, workers, cache)
        self.admission = admission
        self.draining = False
        self._workers = workers
        self.sandbox = sandbox
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
        self.luts.clear()

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
            read = None if look is None else self.luts.read(look)
            chosen = self.models.registry.get(model) if read is None else read.model
            permit.keep(self.models.use(chosen))
            given = None
            if read is not None:
                check_model_of_look(self.models.registry, chosen.card, model)
                given = await rebuild_look(self.models, read)
            probing = partial(probe, body, self._limits, self.sandbox, permit.expires_at)
            source = await permit.run(self._workers, BriefPriority(monotonic()), probing)
            limits = OutputLimits(self._limits, self.admission.memory_bytes)
            return OpenedImage(permit, source, chosen, given, self.models.restorers, limits)

    async def enhance(self, plan: EnhancePlan) -> EnhancedImage:
        """Enhance an image as planned.

        Raises:
            Problem: the image is damaged, or the deadline has passed.
        """
        permit = plan.permit
        async with permit.within_deadline():
            pixels = plan.source.all_pixels
            brief = plan.is_plain and _is_brief(plan.source, pixels)
            priority = priority_of(monotonic(), pixels, brief=brief)
            await permit.reserve_memory(plan.memory, priority)
            decoding = partial(decode, plan)
            decoded = await permit.run_stage(self._workers, priority, "decode", decoding)
            look = await self._find_look(permit, plan.model, decoded.thumbnail, plan.look)
            parallel_map = partial(self._workers.parallel_map, priority)
            finishing = partial(
                apply_and_encode, plan, decoded, look, self.models.device, parallel_map
            )
            outcome = await permit.run(self._workers, priority, finishing)
            return EnhancedImage(
                outcome.body,
                plan.format,
                look,
                outcome.change,
                outcome.applied,
                permit.timings(),
                outcome.cleaning,
                plan.enlargement.factor,
                tuple(model.card.model_ref for model in plan.enlargement.models),
                outcome.notes,
            )

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
        permit, source = opened.permit, opened.source
        async with permit.within_deadline():
            recipe = opened.model.card.thumbnail
            animated = source.header.animation is not None
            pixels = source.all_pixels if animated else source.thumbnail_pixels(recipe.size)
            brief = _is_brief(source, pixels) and is_brief_export(opened.model, options)
            priority = priority_of(monotonic(), pixels, brief=brief)
            await permit.reserve_memory(opened.predict_memory(options), priority)
            decoding = partial(decode_thumbnail, source, recipe, truncated)
            thumbnail, notes = await permit.run_stage(self._workers, priority, "decode", decoding)
            look = await self._find_look(permit, opened.model, thumbnail)
            file = await self.luts.encode(permit, look, options, priority, gzipped=gzipped)
            return PredictedLut(file, permit.timings(), notes)

    async def _find_look(
        self, permit: Permit, model: Model, thumbnail: Thumbnail, given: Look | None = None
    ) -> Look:
        """Return the look that is given; predict it, or its map, where that is missing."""
        if given is not None and isinstance(given.lut, Lut3D):
            return given
        permit.stage = "predict"
        prediction = await self.models.predict(model, thumbnail)
        permit.record("predict", prediction.seconds)
        if given is not None:
            return adapt_look(given, model, prediction)
        return to_look(model, prediction.code, prediction.lut)


def _is_brief(source: EncodedImage, pixels: int) -> bool:
    """Return whether it takes about a second at most to decode and to encode so many pixels."""
    weight = 1 if source.sandbox is None else SANDBOX_WEIGHT
    return weight * pixels <= BRIEF_PIXELS


async def enhance_file(
    service: EnhancementService, body: bytes, options: EnhanceOptions
) -> EnhancedImage:
    """Admit, open and enhance an image.

    Raises:
        Problem: as `Admission.acquire`, `EnhancementService.open` and its `enhance`.
    """
    with service.admission.acquire() as permit:
        permit.enter()
        opened = await service.open(permit, body, options.model, options.look)
        return await service.enhance(opened.plan(options))


async def predict_lut_of_file(
    service: EnhancementService, body: bytes, options: PredictLutOptions
) -> PredictedLut:
    """Admit and open an image, and export the LUT for it.

    Raises:
        Problem: as `Admission.acquire`, `EnhancementService.open` and its `predict_lut`.
    """
    with service.admission.acquire() as permit:
        permit.enter()
        opened = await service.open(permit, body, options.model)
        return await service.predict_lut(opened, options, options.truncated)
