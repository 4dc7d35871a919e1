"""The transport that uvicorn writes one response to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class ResponseTransport(asyncio.Transport):
    """Passes a response on, and lets the protocol decide how the connection ends."""

    def __init__(self, transport: asyncio.Transport, end: Callable[[], None]) -> None:
        """Write to `transport`; `end` ends the connection."""
        super().__init__()
        self._transport, self._end = transport, end

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send data."""
        self._transport.write(data)

    def is_closing(self) -> bool:
        """Return whether the connection is closing."""
        return self._transport.is_closing()

    def close(self) -> None:
        """End the connection after this response."""
        self._end()
