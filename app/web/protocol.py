"""HTTP/1.1 on one connection: uvicorn's protocol, with limits where it has none.

It overrides methods that uvicorn does not document: pyproject.toml pins uvicorn to the minor
version that this module was written for, and `tests/web/test_protocol.py` fails on another.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httptools
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.policies import ConnectionPolicy
from app.web.connection_slots import ConnectionSlots
from app.web.half_close import HalfCloseWatch
from app.web.metrics import Metrics
from app.web.observability import is_probe
from app.web.problems import (
    BAD_CODING,
    MALFORMED,
    NO_CONNECTION,
    NO_TUNNEL,
    SMALL_CHUNKS,
    TOO_LARGE,
    Rejection,
)
from app.web.response_transport import ResponseTransport

UVICORN = "0.54"  # the minor version that this module was written for

_UPGRADE_OPTIONS = (b"upgrade", b"http2-settings")  # of the header Connection
# Each piece of a chunked body costs the event loop time, however short it is.
_FREE_PIECES = 10_000
_PIECE_BYTES = 64  # on average, of more pieces
_MAX_PIPELINED = 100  # requests that wait for the response before; one read may bring thousands
_SEPARATORS = len(": \r\n")  # bytes of a header on the wire beside its name and value


class RejectedHeadError(Exception):
    """The head of a request is rejected; ends its parsing."""


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits on headers, idle time, slow readers and connections.

    Bodies are limited in `app.web.uploads`, while their requests are in flight.
    """

    def __init__(
        self, policy: ConnectionPolicy, slots: ConnectionSlots, metrics: Metrics, **uvicorn: Any
    ) -> None:
        super().__init__(**uvicorn)
        self._policy, self._slots, self._metrics = policy, slots, metrics
        self._messages = 0  # requests that have begun
        self._in_head = False  # a head has begun and is not complete
        self._in_body = False  # a body has begun and is not complete
        self._head_bytes = 0  # received for the present head
        self._parsed_bytes = 0  # of its request line and complete headers
        self._chunked = False  # the present body, in pieces of any length
        self._pieces = self._body_bytes = 0  # received of it
        self._lingering = False  # the last response is written; further input is ignored
        self._rejection = MALFORMED
        self._closing_timer: asyncio.TimerHandle | None = None
        self._reader_timer: asyncio.TimerHandle | None = None
        self._half_close: HalfCloseWatch | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        seconds = self._slots.take(self, transport.close)
        self._close_after(min(seconds, self._policy.header_timeout))

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self._slots.release(self)
        _stop(self._closing_timer)
        _stop(self._reader_timer)
        _stop(self._half_close)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse data, and limit the size of a head that is incomplete."""
        if self._lingering or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        in_body, message = self._in_body, self._messages
        self._feed(data)
        if self._in_head and not self._lingering:
            # Data that also holds the end of a body or a whole request is not counted.
            whole = not in_body and self._messages - message <= (self._head_bytes == 0)
            self._head_bytes += len(data) if whole else 0
            if self._head_bytes > self._policy.max_header_bytes:
                self._reject(TOO_LARGE)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Serve the requests that have arrived whole; return whether there are any."""
        self._watch_reader()
        if self._lingering or not self._responding or (self.cycle.more_body and not self.pipeline):
            return False
        self.cycle.keep_alive = False
        self._half_close = self._half_close or HalfCloseWatch(self.transport, self._is_awaited)
        return True

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._messages += 1
        self._in_head, self._head_bytes, self._parsed_bytes = True, 0, 0
        if not self._responding:
            self._close_after(self._policy.header_timeout)

    def on_url(self, url: bytes) -> None:
        """Count and keep a part of the request line."""
        super().on_url(url)
        self._parsed_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count and keep a header; drop the trailers of a body, which no proxy has checked."""
        self._parsed_bytes += len(name) + len(value) + _SEPARATORS
        if self._parsed_bytes > self._policy.max_header_bytes:
            self._stop_parsing(TOO_LARGE)
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request, unless its head is rejected."""
        if self._lingering:
            return
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                self._stop_parsing(NO_TUNNEL)
            return  # `_feed` declines the offer
        if len(self.pipeline) >= _MAX_PIPELINED:
            self._stop_parsing(MALFORMED)  # those before are served, then the connection ends
        codings = [value for name, value in self.headers if name == b"transfer-encoding"]
        if codings and [it.strip().lower() for it in codings] != [b"chunked"]:
            self._stop_parsing(BAD_CODING)
        self._in_head, self._in_body = False, True
        self._chunked, self._pieces, self._body_bytes = bool(codings), 0, 0
        _stop(self._closing_timer)
        super().on_headers_complete()
        self.cycle.transport = ResponseTransport(self.transport, self._end)
        if self._slots.is_reserved(self):
            self.cycle.keep_alive = False
            if not is_probe(cast("Scope", self.scope)):
                self._stop_parsing(NO_CONNECTION)

    def on_body(self, body: bytes) -> None:
        """Keep a part of a body; reject one that is cut into too many chunks."""
        if self._lingering:
            return
        self._pieces += 1
        self._body_bytes += len(body)
        if self._chunked and self._pieces > _FREE_PIECES + self._body_bytes / _PIECE_BYTES:
            self._stop_parsing(SMALL_CHUNKS)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Complete a request."""
        if self._lingering or self.parser.should_upgrade():
            return
        self._in_body = False
        super().on_message_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._close_after(self._policy.keep_alive_timeout)

    def on_response_complete(self) -> None:
        """Wait for the next head, unless it has arrived: clients may send requests ahead."""
        if self._lingering:
            return
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            unfinished = self._in_head or self._in_body
            policy = self._policy
            self._close_after(policy.header_timeout if unfinished else policy.keep_alive_timeout)

    def pause_writing(self) -> None:
        """Watch a client that does not read as fast as the server writes."""
        super().pause_writing()
        self._watch_reader()

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._reject(self._rejection)

    def _decline_upgrade(self, rest: bytes) -> None:
        """Parse the head again without the offer to upgrade, which may be ignored (RFC 9110, 7.8).

        Java's HttpClient and `curl --http2` offer h2c with every request. The parser would take
        the bytes after the head for the other protocol.
        """
        head = [b"%b %b HTTP/1.1" % (self.parser.get_method(), self.url)]
        for name, value in self.headers:
            if name == b"connection":
                options = [it.strip() for it in value.lower().split(b",")]
                value = b", ".join(it for it in options if it not in _UPGRADE_OPTIONS)
            if value and name not in (b"upgrade", b"http2-settings"):
                head.append(b"%b: %b" % (name, value))
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._messages -= 1
        self._feed(b"\r\n".join([*head, b"", rest]))

    def _stop_parsing(self, rejection: Rejection) -> None:
        self._rejection = rejection
        raise RejectedHeadError

    def _reject(self, rejection: Rejection) -> None:
        """Reject bytes that are no request; complete requests before them are served first."""
        if self._responding and (self.pipeline or not self.cycle.more_body):
            self.cycle.keep_alive = False
            return
        if self._responding:  # ends the wait for the rest of the body
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._metrics.observe_unrouted("unmatched", "other", rejection.status, rejection.reason)
        self._respond_last(rejection)

    def _respond_last(self, rejection: Rejection) -> None:
        """Respond without the application, and end the connection."""
        scope = cast("Scope", self.scope or {"headers": []})
        self.transport.write(rejection.render(scope, self.server_state.default_headers))
        self._linger()

    @property
    def _responding(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _is_awaited(self) -> bool:
        """Return whether an interim response may be sent, which HTTP/1.0 does not have."""
        last = self._responding and not self.pipeline
        return last and not self.cycle.response_started and self.scope["http_version"] != "1.0"

    def _end(self) -> None:
        """End the connection after the last response, whose request may still be arriving."""
        if self.cycle.more_body and not self.transport.is_closing():
            self._linger()
        else:
            self._close()

    def _linger(self) -> None:
        """Let the client end the connection, since it may be sending.

        Closing the connection while data arrives would reset it, and the client might lose a
        response that it has not read yet (RFC 9112, section 9.6).
        """
        self._lingering = True
        self.flow.resume_reading()
        self.transport.write_eof()
        self._close_after(self._policy.header_timeout)

    def _close_after(self, seconds: float) -> None:
        _stop(self._closing_timer)
        self._closing_timer = self.loop.call_later(seconds, self._close)

    def _close(self) -> None:
        """Send the written bytes, if the client reads them, and end the connection."""
        self.transport.close()
        self._watch_reader()

    def _watch_reader(self) -> None:
        _stop(self._reader_timer)
        unread = self.transport.get_write_buffer_size()
        if unread:
            seconds = self._policy.write_timeout
            self._reader_timer = self.loop.call_later(seconds, self._check_reader, unread)

    def _check_reader(self, unread: int) -> None:
        if self.transport.get_write_buffer_size() >= unread:
            self.transport.abort()
        else:
            self._watch_reader()


def _stop(timer: asyncio.TimerHandle | HalfCloseWatch | None) -> None:
    if timer is not None:
        timer.cancel()
