"""The ID of a request, which its response and its log line share."""

from __future__ import annotations

import re
import uuid

from starlette.types import Scope

HEADER = "X-Request-ID"
_NAME = HEADER.lower().encode()
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
