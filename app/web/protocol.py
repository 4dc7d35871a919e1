"""One connection: what a caller may send before, between and after requests, and how slowly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

import orjson
from starlette.responses import Response
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.policies import ConnectionPolicy
from app.web.load_shedding import LoadShedder
from app.web.problems import MEDIA_TYPE

_BAD = HTTPStatus.BAD_REQUEST, HTTPStatus.BAD_REQUEST.description
_TOO_LARGE = (
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE.description,
)
_BETWEEN = len(": \r\n")  # of a header on the wire
_UPGRADE = HTTPStatus.BAD_REQUEST, "A request with a body cannot ask for another protocol (Upgrade)"


class RejectedHeadError(Exception):
    """The head of a request is not accepted; ends its parsing."""


class _TransportProxy(asyncio.Transport):
    """What uvicorn writes one answer to: it ends the connection in our way."""

    def __init__(self, transport: asyncio.Transport, end: Callable[[], None]) -> None:
        super().__init__()
        self._transport, self._end = transport, end

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends it."""
        self._transport.write(data)

    def is_closing(self) -> bool:
        """Whether nobody would read it."""
        return self._transport.is_closing()

    def close(self) -> None:
        """This was the last answer."""
        self._end()


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's connection, with bounds where it has none.

    A body is bounded elsewhere (`app.web.uploads`), while its request is being answered.
    """

    def __init__(self, policy: ConnectionPolicy, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._policy = policy
        self._head = 0  # bytes of the head that is arriving
        self._parsed = 0  # and those of its line and headers that are whole
        self._in_head = True
        self._lingering = False  # the last answer is written; what else comes is not looked at
        self._error = _BAD
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
        if self._lingering or self.transport.is_closing():
            return
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
            if self._head > self._policy.max_header_bytes and not self._lingering:
                self._refuse(*_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Another head begins."""
        super().on_message_begin()
        self._in_head, self._head, self._parsed = True, 0, 0

    def on_url(self, url: bytes) -> None:
        """Counts it."""
        super().on_url(url)
        self._parsed += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Refuses a head that arrives at once, too; what trails a body is no header."""
        self._parsed += len(name) + len(value) + _BETWEEN
        if self._parsed > self._policy.max_header_bytes:
            self._error = _TOO_LARGE
            raise RejectedHeadError
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there; whom the door turns away does not become a task."""
        if self._lingering:
            return
        self._in_head = False
        _stop(self._waiting)
        if self.parser.should_upgrade() and self._announces_body():
            # The parser would take the body for the next request.
            self._error = _UPGRADE
            raise RejectedHeadError
        refusal = self._refusal()
        if refusal:
            self._answer_last(refusal)
            if self.expect_100_continue:  # its body is not on the way: nothing to linger for
                self._close()
            return
        super().on_headers_complete()
        self.cycle.transport = _TransportProxy(self.transport, self._end)

    def on_body(self, body: bytes) -> None:
        """Part of a body, or of what follows a refusal."""
        if not self._lingering:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there, or the end of what was refused."""
        if not self._lingering:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is out; what else the caller sends has to be the next head."""
        if self._lingering:
            return
        super().on_response_complete()
        # Unless it is there: callers may send requests without waiting for answers.
        if self.cycle.response_complete and not self.transport.is_closing():
            self._await_head()

    def pause_writing(self) -> None:
        """The caller does not read as fast as we write."""
        super().pause_writing()
        self._watch_reader()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 -- uvicorn's
        """Answers what is no HTTP."""
        self._refuse(*self._error)

    def _announces_body(self) -> bool:
        bodiless = (b"content-length", b"0")
        announcing = {b"content-length", b"transfer-encoding"}
        return any(it[0] in announcing and it != bodiless for it in self.headers)

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answers what cannot be a request; those before it have their answers first."""
        if self._answering and (self.pipeline or not self.cycle.more_body):
            self.cycle.keep_alive = False
            return
        if self._answering:  # the body breaks off: whoever reads it learns that
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        document = {"type": "about:blank", "status": status, "title": status.phrase}
        body = orjson.dumps(document | {"detail": detail})
        self._answer_last(Response(body, status, media_type=MEDIA_TYPE))

    def _refusal(self) -> Response | None:
        """What the door says, unless those before have to be answered first: order is kept."""
        if self._answering:
            return None
        door: LoadShedder = self.app_state["door"]
        return door.refusal(self.parser.get_method(), self.url, cast("Scope", self.scope))

    def _answer_last(self, answer: Response) -> None:
        """Answers without the application, and ends the connection."""
        headers = [*answer.raw_headers, (b"connection", b"close")]
        head = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[answer.status_code] + head + b"\r\n" + answer.body)
        self._linger()

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _end(self) -> None:
        """After the last answer; its request may still be on the way."""
        if self.cycle.more_body and not self.transport.is_closing():
            self._linger()
        else:
            self._close()

    def _linger(self) -> None:
        """Lets the caller end the connection, who may be sending.

        To close it meanwhile would reset it, and the caller might lose an answer that is not read
        yet (RFC 9112, section 9.6).
        """
        self._lingering = True
        self.flow.resume_reading()
        self.transport.write_eof()
        self._await_head()  # which nobody looks at; but it does not wait for ever

    def _await_head(self) -> None:
        _stop(self._waiting)
        self._waiting = self.loop.call_later(self._policy.header_timeout, self._close)

    def _close(self) -> None:
        """Sends what is written, if its reader takes it, and ends the connection."""
        self.transport.close()
        self._watch_reader()

    def _watch_reader(self) -> None:
        _stop(self._watching)
        unread = self.transport.get_write_buffer_size()
        if unread:
            later = self._policy.write_timeout
            self._watching = self.loop.call_later(later, self._check_reader, unread)

    def _check_reader(self, unread: int) -> None:
        if self.transport.get_write_buffer_size() >= unread:
            self.transport.abort()
        else:
            self._watch_reader()


def _stop(clock: asyncio.TimerHandle | None) -> None:
    if clock is not None:
        clock.cancel()
