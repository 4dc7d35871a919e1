"""The door of the endpoints that take photographs."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import Problem
from app.web.problems import on_problem


class Door:
    """Refuses before anything else is looked at: the more are refused, the less each may cost.

    Pure ASGI middleware. A caller that waits for `100 Continue` does not even send the body.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        """Takes the routes that are behind the door."""
        self._app = app
        self._routes = {
            (method, route.path): route
            for route in routes
            if isinstance(route, APIRoute)
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers it with what `Admission.check` raises."""
        route = scope["type"] == "http" and self._routes.get((scope["method"], scope["path"]))
        if route:
            try:
                scope["state"]["enhancer"].admission.check()
            except Problem as problem:
                scope["route"] = route  # for the metrics
                refusal = await on_problem(Request(scope), problem)
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)
