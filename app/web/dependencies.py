"""What the application hands to its routes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, TypedDict, cast

from fastapi import Depends, Request

from app.serving.permit import Permit
from app.serving.service import EnhancementService
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
async def receive_image(request: Request, state: State) -> AsyncIterator[tuple[Permit, bytes]]:
    """Admit a request and receive the image in its body; counts and traces it in the context.

    Raises:
        Problem: see `Admission.acquire`, before a byte is read, and `Upload.read_image`.
    """
    with (
        state["service"].admission.acquire() as permit,
        state["metrics"].count_cancelled(permit),
        trace_stages(permit),
        state["uploads"].one() as upload,
    ):
        body = await upload.read_image(request)
        permit.enter()
        yield permit, body
