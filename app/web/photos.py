"""What endpoints that take a photograph have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request

from app.serving.timings import Timings
from app.web.state import State
from app.web.tracing import traced


@asynccontextmanager
async def receiving(request: Request, state: State, timings: Timings) -> AsyncIterator[bytes]:
    """The image in a request's body, counted and traced for as long as the context lasts.

    Raises:
        Problem: see `Admission.check`, before a byte is read, and `Upload.read_image`.
    """
    with (
        state["metrics"].photo(timings),
        traced(timings),
        state["uploads"].one() as upload,
    ):
        state["enhancer"].admission.check()  # most have met it at the connection: app.web.door
        body = await upload.read_image(request)
        timings.received()
        yield body
