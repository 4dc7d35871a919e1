"""What the application hands to its routes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, TypedDict, cast

from fastapi import Depends, Request

from app.serving.service import EnhancementService
from app.serving.timings import Timings
from app.web.auth import Authenticator
from app.web.load_shedding import LoadShedder
from app.web.metrics import Metrics
from app.web.observability import trace_stages
from app.web.uploads import Uploads


class State(TypedDict):
    """The lifespan's state, a copy of which every request carries."""

    access: Authenticator
    door: LoadShedder
    service: EnhancementService
    metrics: Metrics
    uploads: Uploads


async def get_state(request: Request) -> State:
    """The state, for routes; a coroutine, since FastAPI sends plain functions through a thread."""
    return cast("State", request.state._state)


StateDep = Annotated[State, Depends(get_state)]


@asynccontextmanager
async def receive_image(request: Request, state: State, timings: Timings) -> AsyncIterator[bytes]:
    """The image in a request's body, counted and traced for as long as the context lasts.

    Raises:
        Problem: see `Admission.check`, before a byte is read, and `Upload.read_image`.
    """
    with (
        state["metrics"].track_request(timings),
        trace_stages(timings),
        state["uploads"].one() as upload,
    ):
        state[
            "service"
        ].admission.check()  # most have met it at the connection: app.web.load_shedding
        body = await upload.read_image(request)
        timings.received()
        yield body
