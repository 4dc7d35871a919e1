"""Which module reads which format, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from app.imaging.codecs import avif, bmp, heif, jpeg, png, tiff, webp
from app.imaging.sandbox import Sandbox
from app.imaging.types import Header, ImageFormat, Raster


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
CRASHING = frozenset({ImageFormat.HEIF})  # pi_heif 1.4: of metadata whose type is no UTF-8


@dataclass(frozen=True)
class Isolated:
    """A codec in a process of its own."""

    codec: Codec
    isolation: Sandbox

    def read_header(self, body: bytes) -> Header:
        """Read all but the pixels."""
        return self.isolation.run(self.codec.read_header, body)

    def decode(self, body: bytes) -> Raster:
        """Decode the only, or the primary, picture."""
        return self.isolation.run(self.codec.decode, body)


def codec_of(image_format: ImageFormat, isolation: Sandbox | None) -> Codec:
    """What reads a format; decoders that can crash do so in isolation, where there is one."""
    codec = CODECS[image_format]
    return Isolated(codec, isolation) if isolation and image_format in CRASHING else codec
