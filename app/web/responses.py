"""Responses that hold an image or a LUT, and their headers."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re

from fastapi import Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.luts.export import LutOptions
from app.luts.lut3d import Lut3D
from app.serving.admission import Admission
from app.serving.results import EnhancedImage, ExportedLut, Look, Timings


def image_response(enhanced: EnhancedImage) -> Response:
    """Return an enhanced image."""
    return Response(
        enhanced.body,
        media_type=enhanced.format.media_type,
        headers=look_headers(enhanced.look)
        | change_headers(enhanced)
        | restore_headers(enhanced)
        | upscale_headers(enhanced)
        | notes_headers(enhanced.notes)
        | {"Server-Timing": server_timing(enhanced.timings), "Vary": "Accept"},
    )


def not_modified(headers: dict[str, str]) -> Response:
    """Return 304 for a client that has the LUT."""
    return Response(status_code=304, headers=headers | {"Vary": "Accept-Encoding"})


def lut_etag(token: str, options: LutOptions, gzipped: bool) -> str:
    """Return a weak ETag: replicas with other processors may round the last digit differently."""
    content = f"{token} {options.model_dump_json()} {gzipped}"
    return f'W/"{hashlib.sha256(content.encode()).hexdigest()[:32]}"'


def lut_response(file: ExportedLut, gzipped: bool, headers: dict[str, str]) -> Response:
    """Return a LUT file with these headers and its own."""
    name = f"{file.look.card.name}{file.format.codec.suffix}"
    headers |= look_headers(file.look)
    headers |= {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Vary": "Accept-Encoding",
    }
    if file.error is not None:
        headers["X-Lut-Error"] = str(file.error)
    if gzipped:
        headers["Content-Encoding"] = "gzip"
    return Response(file.body, media_type=file.format.codec.media_type, headers=headers)


def is_gzipped(request: Request, options: LutOptions) -> bool:
    """Return whether to compress: Accept-Encoding names gzip, and the format is not compressed."""
    if options.format.codec.compressed:
        return False
    for coding in request.headers.get("accept-encoding", "").lower().split(","):
        name, _, weight = coding.replace(" ", "").partition(";q=")
        if name == "gzip":
            return not re.fullmatch(r"0(\.0*)?", weight)
    return False


def look_headers(look: Look) -> dict[str, str]:
    """Return the headers that name a look and its model, and the LUT that describes the look."""
    headers = {"X-Look": look.token, "X-Model": look.card.model_ref}
    if isinstance(look.lut, Lut3D):
        headers["Link"] = f'</lut/{look.token}>; rel="describedby"'
    return headers


def change_headers(enhanced: EnhancedImage) -> dict[str, str]:
    """Return the headers that state how much the look changes an image."""
    change = {"X-Change": f"{enhanced.change:.2f}"}
    return change if enhanced.applied else change | {"X-Unchanged": "true"}


def notes_headers(notes: tuple[str, ...]) -> dict[str, str]:
    """Return the header that names treatments of an image that clients may not expect."""
    return {"X-Image-Notes": ", ".join(notes)} if notes else {}


def restore_headers(enhanced: EnhancedImage) -> dict[str, str]:
    """Return the header that states the damage and its correction, where that was requested."""
    if enhanced.cleaning is None:
        return {}
    damage, strength = enhanced.cleaning.damage, enhanced.cleaning.strength
    jpeg = "" if damage.quality is None else f"jpeg q={damage.quality:.0f}, "
    return {"X-Restore": f"{jpeg}noise {damage.noise:.1f}; strength {strength:g}"}


def upscale_headers(enhanced: EnhancedImage) -> dict[str, str]:
    """Return the header that names the models by which an image was enlarged, if it was."""
    if not enhanced.enlarged_by:
        return {}
    return {"X-Upscale": f"{enhanced.factor:g}; {', '.join(enhanced.enlarged_by)}"}


def server_timing(timings: Timings) -> str:
    """Format the stages in milliseconds, as in the W3C's Server Timing."""
    stages = {"queue": timings.queue} | timings.seconds
    return ", ".join(f"{stage};dur={seconds * 1000:.1f}" for stage, seconds in stages.items())


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
