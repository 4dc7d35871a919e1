"""ASGI middleware: headers, access log, trailing slashes, HEAD requests, load shedding.

All of it is pure ASGI: Starlette's BaseHTTPMiddleware would hide disconnects from the routes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Collection
from time import perf_counter

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import Problem
from app.serving.admission import Admission
from app.web.metrics import CLIENT_CLOSED_REQUEST, Metrics
from app.web.observability import set_trace_header
from app.web.problems import (
    REQUEST_ID_HEADER,
    SECURITY_HEADERS,
    problem_response,
    request_id,
)

log = logging.getLogger("clut")
requests = logging.getLogger("clut.request")

REPORT_SECONDS = 1.0  # from one line on rejected requests to the next

# Headers of a response that a page of another origin may read, if CORS allows its origin.
EXPOSED_HEADERS = (
    "Content-Disposition",
    "Link",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Server-Timing",
    "X-Change",
    "X-Image-Notes",
    "X-Look",
    "X-Lut-Error",
    "X-Model",
    "X-Request-ID",
    "X-Restore",
    "X-Unchanged",
    "X-Upscale",
)

FAULT = "The request failed because of a fault in this server."

MAX_LOGGED_PATH = 200  # characters
MAX_LOGGED_CLIENT = 64  # characters: X-Forwarded-For may claim to be any text

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class ResponseHeaders:
    """Add the request ID and the security headers, where a response has none of its own.

    The outermost middleware, so that no response leaves without them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})  # servers need not provide it

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = request_id(scope)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class AccessLog:
    """Log and count each request, and respond to those that fail."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        begin = perf_counter()
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception:  # a defect: the log alone has its traceback
            log.exception("request failed", extra={"request_id": request_id(scope)})
            if exchange.started:
                raise  # the server closes the connection: half a response must not look whole
            response = problem_response(Problem(FAULT), scope)
            await response(scope, exchange.receive, exchange.send)
        finally:
            self._record(scope, exchange, perf_counter() - begin)

    def _record(self, scope: Scope, exchange: _Exchange, seconds: float) -> None:
        self._metrics.observe_bytes(exchange.received, exchange.sent)
        if scope["state"].get("shed"):  # counted and logged by LoadShedding
            return
        self._metrics.observe_response(_route(scope), _method(scope), exchange.status, seconds)
        _log(scope, exchange, seconds)


class _Exchange:
    """Forward messages, count body bytes, note the status, and complete the headers."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self.received = self.sent = 0
        self.status = CLIENT_CLOSED_REQUEST
        self.started = False

    async def receive(self) -> Message:
        message = await self._receive()
        self.received += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started, self.status = True, message["status"]
            headers = MutableHeaders(scope=message)
            headers.update(self._scope["state"].get("quota_headers", {}))
            set_trace_header(headers)
        self.sent += len(message.get("body", b""))
        await self._send(message)


def _log(scope: Scope, exchange: _Exchange, seconds: float) -> None:
    """Log one line, without query, headers or any part of a body."""
    client = scope.get("client")
    fields = {
        "request_id": request_id(scope),
        "client": client[0][:MAX_LOGGED_CLIENT] if client else None,
        "key": scope["state"].get("key_name"),
        "method": _method(scope),
        "path": scope["path"][:MAX_LOGGED_PATH],
        "status": exchange.status,
        "seconds": round(seconds, 4),
        "received": exchange.received,
        "sent": exchange.sent,
    }
    requests.info("request", extra=fields)


def _route(scope: Scope) -> str:
    """Return the route's template; clients choose paths, which would fill the memory."""
    return getattr(scope.get("route"), "path", "unmatched")


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "other"


class TrailingSlash:
    """Remove a trailing slash from the path, so that /enhance/ is served like /enhance.

    A redirect would need a host name, and clients do not repeat a body at another address. Paths
    below /docs keep it, since the page there refers to its scripts by relative addresses.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request."""
        path = scope.get("path", "")
        if len(path) > 1 and path.endswith("/") and not path.endswith(("//", "/docs/")):
            scope["path"] = path[:-1]
        await self._app(scope, receive, send)


class HeadRequests:
    """Respond to HEAD as to GET, without the body; FastAPI's routes accept only GET.

    The innermost middleware: the others see which method it was.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            await send({**message, "body": b""} if "body" in message else message)

        as_get = {**scope, "method": "GET"}
        try:
            await self._app(as_get, receive, send_without_body)
        finally:
            scope["route"] = as_get.get("route")  # for the metrics


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
