"""The registry of image formats: a new format is a module with a CODEC, and one line here."""

from __future__ import annotations

from codecs import getincrementaldecoder
from enum import StrEnum
from typing import Self

import puremagic

from app.imaging.codecs import apng, avif, bmp, gif, heif, jpeg, jxl, png, tiff, webp
from app.imaging.codecs.base import MAX_HEAD, ImageCodec

_GUESSED = 4096  # bytes from the start of an unknown file


class ImageFormat(StrEnum):
    """Every image format; the value of a member is the name of its codec.

    A file has the first format whose codec recognises its content.
    """

    codec: ImageCodec

    def __new__(cls, codec: ImageCodec) -> Self:
        """Make a member of a codec."""
        member = str.__new__(cls, codec.name)
        member._value_ = codec.name
        member.codec = codec
        return member

    JPEG = jpeg.CODEC
    APNG = apng.CODEC  # before PNG, which matches it as well
    PNG = png.CODEC
    WEBP = webp.CODEC
    AVIF = avif.CODEC
    JXL = jxl.CODEC
    TIFF = tiff.CODEC
    GIF = gif.CODEC
    BMP = bmp.CODEC
    HEIF = heif.CODEC

    @property
    def media_type(self) -> str:
        """The registered media type, such as "image/jpeg"."""
        return self.codec.media_type

    @property
    def suffix(self) -> str:
        """The suffix, with the dot, of files that are written in it."""
        return self.codec.suffixes[0]

    @property
    def encodable(self) -> bool:
        """Whether `encode` can write it."""
        return self.codec.encode is not None

    @property
    def readable(self) -> bool:
        """Whether this installation reads it."""
        return self.codec.requires is None


def detect_format(body: bytes) -> ImageFormat | None:
    """Return the format of a file by its content, or None if it is none of these."""
    head = body[:MAX_HEAD]
    return next((member for member in ImageFormat if member.codec.matches(head)), None)


def describe_unknown(body: bytes) -> str:
    """Describe a file of none of these formats; the text completes "The body is"."""
    head = body[:_GUESSED]
    try:
        guess = puremagic.magic_string(head)[0]
    except Exception:  # a PureError without a match, and any other from its readers of formats
        return "text" if _is_text(head) else "of no known type"
    return f"probably {guess.name} ({guess.mime_type or guess.extension})"


def _is_text(head: bytes) -> bool:
    """Return whether this is text, such as JSON, or an image in base64 that is sent by mistake."""
    try:
        getincrementaldecoder("utf-8")().decode(head)  # the last character may be incomplete
    except UnicodeDecodeError:
        return False
    return b"\0" not in head


def formats_by_suffix() -> dict[str, ImageFormat]:
    """Return the format that each suffix of a writable format, with the dot, stands for."""
    writable = (member for member in ImageFormat if member.encodable)
    return {suffix: member for member in writable for suffix in member.codec.suffixes}


def formats_by_cost() -> list[ImageFormat]:
    """Return the writable formats, those that are encoded fastest first."""
    return sorted((it for it in ImageFormat if it.encodable), key=lambda it: it.codec.cost)
