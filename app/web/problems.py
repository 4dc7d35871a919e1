"""Problems as RFC 9457 documents: the one place where an error becomes a response.

A `Problem` is raised by the application, a `Rejection` by the protocol, before there is a request.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from app.errors import PROBLEMS, BadParameter, Problem

MEDIA_TYPE = "application/problem+json"
REQUEST_ID_HEADER = "X-Request-ID"

SECURITY_HEADERS = {  # of every response
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}

# Texts of clients are quoted up to these lengths, so that no request causes a large response.
MAX_NAME = 100
MAX_DETAIL = 4000
MAX_INSTANCE = 200
MAX_LISTED = 20  # wrong parameters


def problem_response(
    problem: Problem, scope: Scope, more: Mapping[str, str] | None = None
) -> Response:
    """Render a problem; `retry`, in seconds, becomes a Retry-After header beside `more`."""
    members = dict(problem.extra)
    headers = dict(more or {})
    if "retry" in members:
        headers["Retry-After"] = str(members.pop("retry"))
    if "accept_encoding" in members:
        headers["Accept-Encoding"] = str(members.pop("accept_encoding"))
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return _document(
        scope,
        kind=f"/problems#{problem.code}",
        title=problem.title,
        status=problem.status,
        detail=problem.detail[:MAX_DETAIL],
        headers=headers,
        **members,
    )


def install(app: FastAPI) -> None:
    """Respond with a problem document to everything that routes raise."""
    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(RequestValidationError, _on_bad_parameters)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)


def list_problems() -> list[dict[str, Any]]:
    """Return every kind of problem that a client can meet, ordered by status."""
    # Kinds of status 500 are for operators: responses state only that a fault occurred.
    kinds = [it for it in PROBLEMS if it is Problem or it.status != Problem.status]
    return [
        {"code": kind.code, "status": kind.status, "title": kind.title}
        for kind in sorted(kinds, key=lambda kind: kind.status)
    ]


async def on_problem(request: Request, error: Exception) -> Response:
    """Count and render a problem."""
    assert isinstance(error, Problem)  # noqa: S101 -- the handler is registered for it
    request.app.state.parts["metrics"].observe_rejected(error.code)
    return problem_response(error, request.scope)


async def _on_bad_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 -- as above
    errors = error.errors()
    parameters = [_parameter_error(item) for item in errors[:MAX_LISTED]]
    detail = " ".join(f"{item['name']}: {item['reason']}." for item in parameters)
    if len(errors) > MAX_LISTED:
        detail += f" {len(errors) - MAX_LISTED} more are wrong."
    return await on_problem(request, BadParameter(detail, parameters=parameters))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Render rejections of the framework itself: unknown paths and methods."""
    assert isinstance(error, HTTPException)  # noqa: S101 -- as above
    status = HTTPStatus(error.status_code)
    path = request.url.path[:MAX_NAME]
    return _document(
        request.scope,
        kind="about:blank",
        title=status.phrase,
        status=status,
        detail=f"{request.method} {path}: {status.description or status.phrase}.",
        headers=_allow_header(request) if status == HTTPStatus.METHOD_NOT_ALLOWED else {},
    )


def _allow_header(request: Request) -> dict[str, str]:
    """Return Allow with all methods of a path, which may be those of several routes."""
    methods: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    if "GET" in methods:
        methods.add("HEAD")  # app.web.middleware
    return {"Allow": ", ".join(sorted(methods))}


async def _on_disconnect(_: Request, __: Exception) -> Response:
    return Response(status_code=499)  # for the metrics: no client is left to read it


def _parameter_error(item: dict[str, Any]) -> dict[str, str]:
    """Return one of pydantic's errors as the parameter and the reason of its rejection."""
    name = ".".join(str(part) for part in item["loc"][1:]) or str(item["loc"][0])
    if item["type"] == "extra_forbidden":
        return {"name": name[:MAX_NAME], "reason": "there is no such parameter"}
    return {"name": name[:MAX_NAME], "reason": item["msg"][:1].lower() + item["msg"][1:]}


def _document(
    scope: Scope, *, kind: str, status: int, headers: Mapping[str, str], **members: object
) -> Response:
    document = {
        "type": kind,
        "status": int(status),
        **members,
        "instance": quote(scope["path"][:MAX_INSTANCE], safe="/:@!$&'()*+,;="),
        "request_id": request_id(scope),
    }
    return Response(
        orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE),
        status_code=int(status),
        headers=dict(headers),
        media_type=MEDIA_TYPE,
    )


_NAME = REQUEST_ID_HEADER.lower().encode()
_ACCEPTED = re.compile(rb"[A-Za-z0-9._-]{1,128}")


def request_id(scope: Scope) -> str:
    """Return the ID of a request.

    It is the client's X-Request-ID where that is safe to log, and a random one otherwise.
    """
    state = scope.setdefault("state", {})
    if "request_id" not in state:
        given = next((value for name, value in scope["headers"] if name == _NAME), b"")
        accepted = _ACCEPTED.fullmatch(given)
        state["request_id"] = accepted[0].decode() if accepted else str(uuid.uuid4())
    return str(state["request_id"])


@dataclass(frozen=True)
class Rejection:
    """The reason why the protocol rejects a request, before the application receives it.

    Attributes:
        status: of the response.
        reason: of the metric clut_rejected_total.
        detail: for the client.
    """

    status: HTTPStatus
    reason: str
    detail: str

    def render(self, scope: Scope, default_headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """Return the whole response, which ends the connection.

        Args:
            scope: of the request, as far as it was parsed.
            default_headers: uvicorn's, such as Date.
        """
        id_ = request_id(scope)
        document = {
            "type": "about:blank",
            "status": self.status,
            "title": self.status.phrase,
            "detail": self.detail,
            "request_id": id_,
        }
        body = orjson.dumps(document)
        headers = SECURITY_HEADERS | {
            REQUEST_ID_HEADER: id_,
            "Content-Type": MEDIA_TYPE,
            "Content-Length": str(len(body)),
            "Connection": "close",
        }
        lines = [
            *(b"%b: %b\r\n" % header for header in default_headers),
            *(f"{name.lower()}: {value}\r\n".encode() for name, value in headers.items()),
        ]
        status = f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\n".encode()
        return status + b"".join(lines) + b"\r\n" + body


_BAD = HTTPStatus.BAD_REQUEST
_LARGE = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE

MALFORMED = Rejection(_BAD, "bad-request", _BAD.description)
TOO_LARGE = Rejection(_LARGE, "headers-too-large", _LARGE.description)
BAD_CODING = Rejection(_BAD, "bad-request", "The only supported Transfer-Encoding is chunked.")
SMALL_CHUNKS = Rejection(_BAD, "bad-request", "The chunks of the body are too small.")
NO_TUNNEL = Rejection(_BAD, "bad-request", "CONNECT is not supported.")
NO_CONNECTION = Rejection(
    HTTPStatus.SERVICE_UNAVAILABLE, "too-many-connections", "The server has too many connections."
)
