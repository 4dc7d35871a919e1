"""What endpoints that take a photograph have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from app.serving.timings import Timings
from app.web.state import State
from app.web.tracing import traced


class AdmittedRoute(APIRoute):
    """Refuses before anything else is looked at: the more are refused, the less each may cost.

    A caller that waits for `100 Continue` does not even send the body.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, behind the door; it raises what `Admission.check` does."""
        handle = super().get_route_handler()

        async def admitted(request: Request) -> Response:
            request.state.enhancer.admission.check()
            return await handle(request)

        return admitted


@asynccontextmanager
async def receiving(request: Request, state: State, timings: Timings) -> AsyncIterator[bytes]:
    """The image in a request's body, counted and traced for as long as the context lasts.

    Raises:
        Problem: see `Upload.read_image`.
    """
    with (
        state["metrics"].photo(timings),
        traced(timings),
        state["uploads"].one() as upload,
    ):
        body = await upload.read_image(request)
        timings.received()
        yield body
