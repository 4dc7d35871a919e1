"""Responses of the protocol itself, to what never becomes a request of the application."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

import orjson
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from app.web.middleware import SECURITY_HEADERS
from app.web.problems import MEDIA_TYPE, REQUEST_ID_HEADER, request_id


@dataclass(frozen=True)
class Rejection:
    """Why a request is rejected.

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
        return STATUS_LINE[self.status] + b"".join(lines) + b"\r\n" + body


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
