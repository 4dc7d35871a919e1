"""What the application hands to its routes."""

from __future__ import annotations

from typing import Annotated, TypedDict, cast

from fastapi import Depends, Request

from app.serving.enhancer import Enhancer
from app.web.access import Access
from app.web.body import Uploads
from app.web.door import Door
from app.web.metrics import Metrics


class State(TypedDict):
    """The lifespan's state, a copy of which every request carries."""

    access: Access
    door: Door
    enhancer: Enhancer
    metrics: Metrics
    uploads: Uploads


async def state(request: Request) -> State:
    """The state, for routes; a coroutine, since FastAPI sends plain functions through a thread."""
    return cast("State", request.state._state)


TheState = Annotated[State, Depends(state)]
