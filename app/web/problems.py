"""Problems as RFC 9457 documents: the one place where an error becomes a response."""

from __future__ import annotations

from collections.abc import Mapping
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

from app.errors import BadParameter, Problem
from app.web.request_id import request_id

MEDIA_TYPE = "application/problem+json"


def problem_response(
    problem: Problem, scope: Scope, more: Mapping[str, str] | None = None
) -> Response:
    """Renders a problem; `retry`, in seconds, becomes a Retry-After header beside `more`."""
    members = dict(problem.extra)
    headers = dict(more or {})
    if "retry" in members:
        headers["Retry-After"] = str(members.pop("retry"))
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return _document(
        scope,
        kind=f"/problems#{problem.code}",
        title=problem.title,
        status=problem.status,
        detail=problem.detail,
        headers=headers,
        **members,
    )


def install(app: FastAPI) -> None:
    """Answers everything that routes raise with a problem document."""
    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(RequestValidationError, _on_bad_parameters)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)


def list_problems() -> list[dict[str, Any]]:
    """Every problem that this service answers with, for its readers."""
    # The kinds of status 500 are for operators; callers learn of a fault, not of which.
    answered = [kind for kind in Problem.__subclasses__() if kind.status != Problem.status]
    kinds: list[type[Problem]] = [Problem, *answered]
    return [
        {"code": kind.code, "status": kind.status, "title": kind.title}
        for kind in sorted(kinds, key=lambda kind: kind.status)
    ]


async def on_problem(request: Request, error: Exception) -> Response:
    """Counts and renders a problem."""
    assert isinstance(error, Problem)  # noqa: S101 -- what the handler is registered for
    request.state.metrics.rejected(error.code)
    return problem_response(error, request.scope)


async def _on_bad_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 -- as above
    parameters = [_parameter_error(item) for item in error.errors()]
    detail = " ".join(f"{item['name']}: {item['reason']}." for item in parameters)
    return await on_problem(request, BadParameter(detail, parameters=parameters))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """What the framework refuses by itself: unknown paths and methods."""
    assert isinstance(error, HTTPException)  # noqa: S101 -- as above
    status = HTTPStatus(error.status_code)
    return _document(
        request.scope,
        kind="about:blank",
        title=status.phrase,
        status=status,
        detail=f"{request.method} {request.url.path}: {status.description or status.phrase}.",
        headers=_allowed(request) if status == HTTPStatus.METHOD_NOT_ALLOWED else {},
    )


def _allowed(request: Request) -> dict[str, str]:
    """All methods of a path, which may be those of several routes."""
    methods: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    if "GET" in methods:
        methods.add("HEAD")  # app.web.middleware
    return {"Allow": ", ".join(sorted(methods))}


async def _on_disconnect(_: Request, __: Exception) -> Response:
    return Response(status_code=499)  # for the metrics: nobody is there to read it


def _parameter_error(item: dict[str, Any]) -> dict[str, str]:
    """One of pydantic's errors, as the parameter and what is wrong with it."""
    name = ".".join(str(part) for part in item["loc"][1:]) or str(item["loc"][0])
    if item["type"] == "extra_forbidden":
        return {"name": name, "reason": "there is no such parameter"}
    return {"name": name, "reason": item["msg"][:1].lower() + item["msg"][1:]}


def _document(
    scope: Scope, *, kind: str, status: int, headers: Mapping[str, str], **members: object
) -> Response:
    document = {
        "type": kind,
        "status": int(status),
        **members,
        "instance": quote(scope["path"], safe="/:@!$&'()*+,;="),
        "request_id": request_id(scope),
    }
    return Response(
        orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE),
        status_code=int(status),
        headers=dict(headers),
        media_type=MEDIA_TYPE,
    )
