"""Account for the memory of large responses until their clients have read them."""

from __future__ import annotations

import asyncio
import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.serving.admission import Admission

log = logging.getLogger("clut")

CHUNK = 256 * 1024  # bytes


class ResponseMemory:
    """Middleware that sends large bodies in chunks, and reserves their memory meanwhile.

    A chunk is passed on when the connection has sent the one before, but for a few KB. A client
    that reads fewer than `min_rate` bytes per second is disconnected.
    """

    def __init__(self, app: ASGIApp, admission: Admission, min_rate: int) -> None:
        self._app, self._admission = app, admission
        self._seconds = CHUNK / min_rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request."""

        async def send_in_chunks(message: Message) -> None:
            if len(message.get("body", b"")) > CHUNK:
                await self._send(message, send)
            else:
                await send(message)

        await self._app(scope, receive, send_in_chunks)

    async def _send(self, message: Message, send: Send) -> None:
        body = memoryview(message["body"])
        with self._admission.hold(len(body)):
            for begin in range(0, len(body), CHUNK):
                chunk = bytes(body[begin : begin + CHUNK])
                more = message.get("more_body", False) or begin + CHUNK < len(body)
                try:
                    async with asyncio.timeout(self._seconds):
                        await send({**message, "body": chunk, "more_body": more})
                except TimeoutError:
                    # The server closes a connection whose response is not completed.
                    log.info("a client that reads too slowly is disconnected")
                    return
