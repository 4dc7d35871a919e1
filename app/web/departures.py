"""Tells clients that wait for their response from those that have left."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

FIRST_SECONDS = 0.25  # most responses begin before, and nothing is sent but them
NEXT_SECONDS = 0.1
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class DepartureWatch:
    """Watches a client that has ended its direction of a connection while it awaits a response.

    Nothing else arrives from a client that has closed its socket. The two differ once something is
    sent: only a closed socket rejects it. So an interim response is sent, which clients skip if
    they did not expect it (RFC 9110, section 15.2.1), and the connection of a client that
    rejects it is aborted.
    """

    def __init__(self, transport: asyncio.Transport, is_awaited: Callable[[], bool]) -> None:
        """Begin to watch.

        Args:
            transport: the connection.
            is_awaited: returns whether a client awaits a response of which nothing is sent.
        """
        self._transport, self._is_awaited = transport, is_awaited
        self._asked = False
        self._check_after(FIRST_SECONDS)

    def cancel(self) -> None:
        """Watch no longer; the connection is closed."""
        self._timer.cancel()

    def _check_after(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._check)

    def _check(self) -> None:
        if self._transport.is_closing():
            return
        if self._is_awaited():
            if self._asked and self._has_failed():
                self._transport.abort()
                return
            if not self._asked:
                self._transport.write(CONTINUE)
                self._asked = True
        self._check_after(NEXT_SECONDS)

    def _has_failed(self) -> bool:
        """Return whether the client has rejected what was sent; nothing is read any more."""
        connection: socket.socket = self._transport.get_extra_info("socket")
        return connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
