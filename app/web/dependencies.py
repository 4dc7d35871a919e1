"""What routes receive: the parts of the application, and the image of a request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, TypedDict, cast

from fastapi import Depends, Request

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
    permit: Permit = request.state.permit  # from app.web.load_shedding
    with (
        permit,
        state["metrics"].count_cancelled(permit),
        trace_stages(permit),
        state["uploads"].one() as upload,
    ):
        body = await upload.receive(request)
        permit.enter()
        yield permit, await upload.extract_image(request, body)
