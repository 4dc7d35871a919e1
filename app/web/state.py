"""What the application hands to its routes."""

from __future__ import annotations

from typing import Annotated, TypedDict, cast

from fastapi import Depends, Request

from app.serving.enhancer import Enhancer
from app.web.access import Access
from app.web.body import Uploads
from app.web.metrics import Metrics


class State(TypedDict):
    """The lifespan's state, a copy of which every request carries."""

    access: Access
    enhancer: Enhancer
    metrics: Metrics
    uploads: Uploads


def _state(request: Request) -> State:
    return cast("State", request.state._state)


# Coroutines, all of them: FastAPI would send plain functions through a thread each.


async def _enhancer(request: Request) -> Enhancer:
    return _state(request)["enhancer"]


async def _metrics(request: Request) -> Metrics:
    return _state(request)["metrics"]


async def _uploads(request: Request) -> Uploads:
    return _state(request)["uploads"]


TheEnhancer = Annotated[Enhancer, Depends(_enhancer)]
TheMetrics = Annotated[Metrics, Depends(_metrics)]
TheUploads = Annotated[Uploads, Depends(_uploads)]
