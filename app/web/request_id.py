"""A name for every request, so that an answer and a log line can be brought together."""

from __future__ import annotations

import re
import uuid

from starlette.datastructures import Headers
from starlette.types import Scope

HEADER = "X-Request-ID"
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,128}")


def request_id(scope: Scope) -> str:
    """The caller's own X-Request-ID where it is harmless to log, else one made here; it stays."""
    state = scope.setdefault("state", {})
    if "request_id" not in state:
        given = Headers(scope=scope).get(HEADER, "")
        state["request_id"] = given if _ACCEPTED.fullmatch(given) else str(uuid.uuid4())
    return str(state["request_id"])
