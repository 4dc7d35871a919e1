"""What every answer says to browsers."""

from __future__ import annotations

import logging
from time import perf_counter

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import Problem
from app.web.metrics import Metrics
from app.web.observability import set_trace_header
from app.web.problems import problem_response
from app.web.request_id import HEADER, request_id

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}

# Headers of an answer that a page of another origin may read, where it is let in at all.
EXPOSED_HEADERS = (
    "Content-Disposition",
    "Link",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Server-Timing",
    "X-Change",
    "X-Look",
    "X-Lut-Error",
    "X-Model",
    "X-Request-ID",
    "X-Unchanged",
)


class SecurityHeaders:
    """Adds the headers that make browsers careful, where an answer has none of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, and an answer back."""

        async def send_shielded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_shielded)


class HeadRequests:
    """Answers HEAD as GET is answered, without the body; FastAPI's routes know GET alone.

    Pure ASGI middleware, and the innermost: the others see which method it was.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, and an answer back."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_bodiless(message: Message) -> None:
            await send({**message, "body": b""} if "body" in message else message)

        as_get = {**scope, "method": "GET"}
        try:
            await self._app(as_get, receive, send_bodiless)
        finally:
            scope["route"] = as_get.get("route")  # for the metrics


log = logging.getLogger("clut")
requests = logging.getLogger("clut.request")

CLIENT_CLOSED_REQUEST = 499  # nginx's name for it: nobody was there to hear the answer
FAULT = "The request was not carried out because of a fault in this server."

LONGEST_PATH = 200  # of what is logged

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class AccessLog:
    """Pure ASGI middleware: it does not hide a caller's departure from the route behind it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, and an answer back."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        begun = perf_counter()
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception:  # a bug of ours: the caller learns that, and the log learns what
            log.exception("a request failed", extra={"request_id": request_id(scope)})
            if exchange.begun:
                raise  # the server cuts the answer off: half of it must not look whole
            response = problem_response(Problem(FAULT), scope)
            await response(scope, exchange.receive, exchange.send)
        finally:
            self._metrics.observe_bytes(exchange.received, exchange.sent)
            seconds = perf_counter() - begun
            self._metrics.observe_response(_route(scope), _method(scope), exchange.status, seconds)
            _log(scope, exchange, seconds)


class _Exchange:
    """Passes messages on, counts body bytes, notes the status, and names the answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self.received = self.sent = 0
        self.status = CLIENT_CLOSED_REQUEST
        self.begun = False

    async def receive(self) -> Message:
        message = await self._receive()
        self.received += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun, self.status = True, message["status"]
            headers = MutableHeaders(scope=message)
            headers[HEADER] = request_id(self._scope)
            headers.update(self._scope["state"].get("quota_headers", {}))
            set_trace_header(headers)
        self.sent += len(message.get("body", b""))
        await self._send(message)


def _log(scope: Scope, exchange: _Exchange, seconds: float) -> None:
    """A line for a request: no query, no headers, nothing of any body."""
    client = scope.get("client")
    fields = {
        "request_id": request_id(scope),
        "client": client[0] if client else None,
        "key": scope["state"].get("key_name"),
        "method": _method(scope),
        "path": scope["path"][:LONGEST_PATH],
        "status": exchange.status,
        "seconds": round(seconds, 4),
        "received": exchange.received,
        "sent": exchange.sent,
    }
    requests.info("request", extra=fields)


def _route(scope: Scope) -> str:
    """The route's template: paths are the callers' to invent, and would fill the memory."""
    return getattr(scope.get("route"), "path", "unmatched")


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "other"
