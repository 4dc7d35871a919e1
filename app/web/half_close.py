"""Detection of clients that have disconnected after half-closing their connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

FIRST_SECONDS = 0.25  # most responses begin before, and need no interim response
NEXT_SECONDS = 0.1
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class HalfCloseWatch:
    """Watches a client that has half-closed its connection while it awaits a response.

    A half-closed and a closed socket look alike until data is sent: only a closed one rejects it.
    So an interim response is sent, which clients skip if they did not expect it (RFC 9110,
    section 15.2.1), and the connection is aborted if it is rejected.
    """

    def __init__(self, transport: asyncio.Transport, is_awaited: Callable[[], bool]) -> None:
        """Begin to watch.

        Args:
            transport: the connection.
            is_awaited: returns whether a client awaits a response of which nothing is sent.
        """
        self._transport, self._is_awaited = transport, is_awaited
        self._probed = False
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
            if self._probed and self._has_failed():
                self._transport.abort()
                return
            if not self._probed:
                self._transport.write(CONTINUE)
                self._probed = True
        self._check_after(NEXT_SECONDS)

    def _has_failed(self) -> bool:
        """Return whether the client has rejected data; nothing is read any more."""
        connection: socket.socket = self._transport.get_extra_info("socket")
        return connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
