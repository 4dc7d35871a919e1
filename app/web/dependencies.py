"""Dependencies of routes: parts of the application, the image of a request, its parameters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from itertools import groupby
from typing import Annotated, TypedDict, cast

import mimeparse
from fastapi import Depends, Request
from pydantic import BaseModel, Field

from app.imaging.codecs import ImageFormat, formats_by_cost
from app.luts.export import LutOptions
from app.serving.options import LOOK_TOKEN, AcceptedFormats, PredictLutOptions
from app.serving.permit import Permit
from app.serving.service import EnhancementService
from app.web.auth import Authenticator
from app.web.metrics import Metrics
from app.web.observability import trace_stages
from app.web.uploads import Uploads


class State(TypedDict):
    """The parts of the application, as `app.state.parts`."""

    authenticator: Authenticator
    service: EnhancementService
    metrics: Metrics
    uploads: Uploads


async def get_state(request: Request) -> State:
    """Return the parts; a coroutine, since FastAPI runs plain functions on a thread."""
    return cast("State", request.app.state.parts)


StateDep = Annotated[State, Depends(get_state)]


@asynccontextmanager
async def receive_image(request: Request, state: State) -> AsyncIterator[tuple[Permit, bytes]]:
    """Receive the image in the body of an admitted request; count and trace it in the context.

    Raises:
        Problem: see `Upload.receive`, `Permit.enter` and `Upload.extract_image`.
    """
    permit: Permit = request.state.permit  # from app.web.middleware
    with (
        permit,
        state["metrics"].count_cancelled(permit),
        trace_stages(permit),
        state["uploads"].one() as upload,
    ):
        body = await upload.receive(request)
        permit.enter()
        yield permit, await upload.extract_image(request, body)


class GetLutQuery(LutOptions):
    """Which LUT is rebuilt, and how it is written."""

    token: str = Field(
        json_schema_extra=LOOK_TOKEN,
        description="A look token, the X-Look of an earlier response.",
    )


class NoQuery(BaseModel, extra="forbid"):
    """No parameters at all."""


def lut_options(query: PredictLutOptions | GetLutQuery) -> LutOptions:
    """Return the part of a query that determines how a LUT is written."""
    return LutOptions.model_validate(
        {name: getattr(query, name) for name in LutOptions.model_fields}
    )


_BY_COST = formats_by_cost()


@lru_cache(maxsize=64)  # clients send few different ones
def accepted_formats(accept: str | None) -> AcceptedFormats:
    """Return the formats that an Accept header names, in groups of equal rank, best first.

    The rank is the weight, then how specific the media range is. Empty where the header is
    missing, malformed or accepts no image format, since it then expresses no preference.
    """
    try:
        texts = [text for text in (accept or "").split(",") if text.strip()]
        ranges = [mimeparse.parse_media_range(text) for text in texts]
    except mimeparse.MimeTypeParseException:
        return ()

    def rank(image_format: ImageFormat) -> tuple[float, float]:
        quality, fitness = mimeparse.quality_and_fitness_parsed(image_format.media_type, ranges)
        return quality, fitness

    ranked = sorted(_BY_COST, key=rank, reverse=True)  # stable, even in reverse
    return tuple(tuple(group) for (quality, _), group in groupby(ranked, rank) if quality > 0)
