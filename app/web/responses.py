"""Responses that hold an image or a LUT, and their headers."""

from __future__ import annotations

import hashlib
import re

from fastapi import Request, Response

from app.luts.export import LutOptions
from app.serving.results import EnhancedImage, ExportedLut, Look, Timings


def image_response(enhanced: EnhancedImage) -> Response:
    """Return an enhanced image."""
    return Response(
        enhanced.body,
        media_type=enhanced.format.media_type,
        headers=look_headers(enhanced.look)
        | change_headers(enhanced)
        | ({"X-Image-Notes": ", ".join(enhanced.notes)} if enhanced.notes else {})
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
    """Return the headers that name a look and its model."""
    return {
        "X-Look": look.token,
        "X-Model": look.card.model_ref,
        "Link": f'</lut/{look.token}>; rel="describedby"',
    }


def change_headers(enhanced: EnhancedImage) -> dict[str, str]:
    """Return the headers that state how much the look changes an image."""
    change = {"X-Change": f"{enhanced.change:.2f}"}
    return change if enhanced.applied else change | {"X-Unchanged": "true"}


def server_timing(timings: Timings) -> str:
    """Format the stages in milliseconds, as in the W3C's Server Timing."""
    stages = {"queue": timings.queue} | timings.seconds
    return ", ".join(f"{stage};dur={seconds * 1000:.1f}" for stage, seconds in stages.items())
