"""Choosing the answer's image format."""

from __future__ import annotations

from collections.abc import Callable

import mimeparse

from app.imaging.codecs import ImageFormat, formats_by_cost

# mimeparse prefers the last among equals: the formats that take the least time to write.
_BY_PREFERENCE = tuple(reversed(formats_by_cost()))


def output_format(asked: str, accept: str | None) -> Callable[[ImageFormat], ImageFormat]:
    """What turns a photograph's own format into the answer's.

    Args:
        asked: the `format` parameter; anything but "auto" decides by itself.
        accept: the Accept header; it decides where it names image types, and otherwise the
            photograph keeps its format, or becomes a JPEG where that is only read here.
    """
    if asked != "auto":
        return lambda _: ImageFormat[asked.upper()]
    return lambda own: _negotiated(own if own.encodable else ImageFormat.JPEG, accept or "*/*")


def _negotiated(own: ImageFormat, accept: str) -> ImageFormat:
    offers = [offer.media_type for offer in _BY_PREFERENCE if offer is not own] + [own.media_type]
    try:
        chosen = mimeparse.best_match(offers, accept)
    except mimeparse.MimeTypeParseException:
        return own  # an Accept header that means nothing asks for nothing
    return next((offer for offer in _BY_PREFERENCE if offer.media_type == chosen), own)
