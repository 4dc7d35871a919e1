"""Requests of callers without HTTP and quotas: one call from the bytes of a file to the result."""

from __future__ import annotations

from app.serving.options import EnhanceOptions, PredictLutOptions
from app.serving.results import EnhancedImage, PredictedLut
from app.serving.service import EnhancementService


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
