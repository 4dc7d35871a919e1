"""Which module reads which format."""

from __future__ import annotations

from typing import Protocol

from app.imaging.formats import avif, bmp, heif, jpeg, png, tiff, webp
from app.imaging.photo import ImageFormat
from app.imaging.raster import Header, Raster


class Codec(Protocol):
    """What a module of `formats` offers. Its exceptions are whatever its library throws."""

    def read_header(self, body: bytes) -> Header:
        """Read all but the pixels."""

    def decode(self, body: bytes) -> Raster:
        """Decode the only, or the primary, picture."""


CODECS: dict[ImageFormat, Codec] = {
    ImageFormat.JPEG: jpeg,
    ImageFormat.PNG: png,
    ImageFormat.WEBP: webp,
    ImageFormat.AVIF: avif,
    ImageFormat.TIFF: tiff,
    ImageFormat.BMP: bmp,
    ImageFormat.HEIF: heif,
}
