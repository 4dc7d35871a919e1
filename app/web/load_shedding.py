"""The door of the endpoints that take photographs."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable

from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Scope

from app.errors import Problem
from app.serving.admission import Admission
from app.web.metrics import Metrics
from app.web.middleware import SECURITY_HEADERS
from app.web.problems import problem_response
from app.web.request_id import HEADER, request_id

log = logging.getLogger("clut")

REPORT_SECONDS = 1.0


class LoadShedder:
    """Refuses at the connection, before the application hears of a request.

    The more are refused, the less each may cost: what is let in is answered from the same cores.
    So the log has one line a second for all of them.
    """

    def __init__(self, admission: Admission, metrics: Metrics, routes: Iterable[BaseRoute]) -> None:
        """Takes the routes that are behind the door."""
        self._admission, self._metrics = admission, metrics
        self._routes = {
            (method.encode(), route.path.encode()): route.path
            for route in routes
            if isinstance(route, APIRoute)
            for method in route.methods or ()
        }
        self._refused: Counter[str] = Counter()

    def refusal(self, method: bytes, target: bytes, scope: Scope) -> Response | None:
        """The answer to a request that has no room here, or None.

        None as well for what takes the longer way through the application, which asks the same
        question: pages of other origins, whom CORS answers, and unusual spellings of a path.

        Args:
            method: of the request line.
            target: of the request line.
            scope: the state and the headers of the request; gets its path.
        """
        path = target.partition(b"?")[0]
        route = self._routes.get((method, path))
        if route is None or any(name == b"origin" for name, _ in scope["headers"]):
            return None
        try:
            self._admission.acquire()
        except Problem as problem:
            scope["path"] = route
            response = problem_response(
                problem, scope, {HEADER: request_id(scope)} | SECURITY_HEADERS
            )
            self._metrics.observe_shed(route, method.decode(), problem, len(response.body))
            self._count(problem)
            return response
        return None

    def _count(self, problem: Problem) -> None:
        if not self._refused:
            asyncio.get_running_loop().call_later(REPORT_SECONDS, self._report)
        self._refused[problem.code] += 1

    def _report(self) -> None:
        log.warning("refused at the door", extra={"refused": dict(self._refused)})
        self._refused.clear()
