"""One connection: what a caller may send before, between and after requests, and how slowly."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.web.problems import MEDIA_TYPE


class ConnectionPolicy(BaseModel):
    """What a connection may cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max: int = Field(
        default=1000,
        ge=1,
        description="Connections at once; one more is closed at once. Each needs a file "
        "descriptor: keep it well below `ulimit -n`.",
    )
    head_bytes: int = Field(
        default=65536,
        ge=1024,
        description="Most bytes of a request's line and headers; more are answered 431. A look "
        "token or a cookie of a few kilobytes has to fit.",
    )
    head_seconds: float = Field(
        default=10.0,
        gt=0.0,
        description="Seconds until a connection must have sent the head of a request, counted "
        "from when it is opened or its last answer is complete; then it is closed.",
    )
    stall_seconds: float = Field(
        default=30.0,
        gt=0.0,
        description="Seconds that an answer may wait for its reader to take any of it; then the "
        "connection is closed, and what the answer holds is free.",
    )


class HeadTooLargeError(Exception):
    """The head of a request is larger than is accepted."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with bounds where it has none.

    A body is bounded elsewhere (`app.web.body`), while its request is being answered.
    """

    def __init__(self, policy: ConnectionPolicy, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._policy = policy
        self._head = 0  # bytes of the head that is arriving
        self._in_head = True
        self._complaint = HTTPStatus.BAD_REQUEST
        self._waiting: asyncio.TimerHandle | None = None
        self._watching: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for a head, unless there are connections enough."""
        super().connection_made(transport)
        if len(self.connections) > self._policy.max:
            transport.close()
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clocks."""
        _stop(self._waiting)
        _stop(self._watching)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counts what has not become a whole head yet."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
            if self._head > self._policy.head_bytes and not self.transport.is_closing():
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Another head begins."""
        super().on_message_begin()
        self._in_head, self._head = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Refuses a head that arrives at once, too."""
        super().on_header(name, value)
        if len(self.url) + sum(len(n) + len(v) for n, v in self.headers) > self._policy.head_bytes:
            self._complaint = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise HeadTooLargeError  # which ends the parsing

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._in_head = False
        _stop(self._waiting)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """The answer is out; what else the caller sends has to be the next head."""
        super().on_response_complete()
        if not self.transport.is_closing():
            self._await_head()

    def pause_writing(self) -> None:
        """The caller does not read as fast as we write."""
        super().pause_writing()
        self._watch_reader()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 -- uvicorn's
        """Answers what is no HTTP."""
        self._refuse(self._complaint)

    def _refuse(self, status: HTTPStatus) -> None:
        self._in_head = False
        document = {"type": "about:blank", "status": status, "title": status.phrase}
        body = orjson.dumps(document | {"detail": status.description or status.phrase})
        head = f"HTTP/1.1 {status} {status.phrase}\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(f"{head}content-type: {MEDIA_TYPE}\r\n".encode())
        self.transport.write(b"connection: close\r\n\r\n" + body)
        self._close()

    def _await_head(self) -> None:
        _stop(self._waiting)
        self._waiting = self.loop.call_later(self._policy.head_seconds, self._close)

    def _close(self) -> None:
        """Sends what is written, if its reader takes it, and ends the connection."""
        self.transport.close()
        self._watch_reader()

    def _watch_reader(self) -> None:
        _stop(self._watching)
        unread = self.transport.get_write_buffer_size()
        if unread:
            later = self._policy.stall_seconds
            self._watching = self.loop.call_later(later, self._check_reader, unread)

    def _check_reader(self, unread: int) -> None:
        if self.transport.get_write_buffer_size() >= unread:
            self.transport.abort()
        else:
            self._watch_reader()


def _stop(clock: asyncio.TimerHandle | None) -> None:
    if clock is not None:
        clock.cancel()
