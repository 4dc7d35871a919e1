"""Load shedding: admit an image request by its head, or reject it before anything else is done."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import Problem
from app.serving.admission import Admission
from app.web.metrics import Metrics
from app.web.problems import problem_response

log = logging.getLogger("clut")

REPORT_SECONDS = 1.0


class LoadShedding:
    """Acquire the permit of each image request; the one place that decides on its admission.

    The more requests are rejected, the less each may cost, since the admitted ones use the same
    cores. So a rejected request is neither authenticated nor routed, its body is not read, and
    the log has one line per second for all of them.
    """

    def __init__(
        self,
        app: ASGIApp,
        admission: Admission,
        metrics: Metrics,
        endpoints: Collection[tuple[str, str]],
    ) -> None:
        """Admit requests to these (method, path); others are forwarded without a permit."""
        self._app, self._admission, self._metrics = app, admission, metrics
        self._endpoints = endpoints
        self._rejected: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward an admitted request with its permit, as `request.state.permit`."""
        if scope["type"] == "http" and (scope["method"], scope["path"]) in self._endpoints:
            try:
                scope["state"]["permit"] = self._admission.acquire()
            except Problem as problem:
                scope["state"]["shed"] = True
                self._count(scope, problem)
                # The body is not read, so that the connection has to be closed.
                response = problem_response(problem, scope, {"Connection": "close"})
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _count(self, scope: Scope, problem: Problem) -> None:
        self._metrics.observe_unrouted(scope["path"], scope["method"], problem.status, problem.code)
        if not self._rejected:
            asyncio.get_running_loop().call_later(REPORT_SECONDS, self._report)
        self._rejected[problem.code] += 1

    def _report(self) -> None:
        log.warning("requests rejected", extra={"rejected": dict(self._rejected)})
        self._rejected.clear()
