"""The registry of image formats: a new format is a module with a CODEC, and one line here."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from app.imaging.codecs import apng, avif, bmp, gif, heif, jpeg, jxl, png, tiff, webp
from app.imaging.codecs.base import MAX_HEAD, ImageCodec


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


def formats_by_suffix() -> dict[str, ImageFormat]:
    """Return the format that each suffix of a writable format, with the dot, stands for."""
    writable = (member for member in ImageFormat if member.encodable)
    return {suffix: member for member in writable for suffix in member.codec.suffixes}


def formats_by_cost() -> list[ImageFormat]:
    """Return the writable formats, those that are encoded fastest first."""
    return sorted((it for it in ImageFormat if it.encodable), key=lambda it: it.codec.cost)
