"""WebP: Pillow writes, libwebp decodes straight into numpy."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO

import imagecodecs
from PIL import Image

from app.imaging.codecs.base import Codec
from app.imaging.metadata import read_orientation
from app.imaging.raster import (
    EncodeSettings,
    FormatError,
    Header,
    Metadata,
    Raster,
    Samples,
    to_raster,
)

METHOD = 2  # 0 fastest .. 6 smallest: 3 takes twice as long for 2 % smaller files
_HAS_ALPHA = 0x10  # a flag of VP8X
_PIXELS = frozenset({b"VP8 ", b"VP8L", b"ANMF"})
_MAX_CHUNKS = 100_000  # an animation has one for each frame


def read_header(body: bytes) -> Header:
    """Read the chunks of the RIFF container, RFC 9649; nothing is decoded."""
    chunks: dict[bytes, bytes] = {}
    frames = 0
    for kind, payload in _chunks(body):
        frames += kind == b"ANMF"
        chunks.setdefault(kind, payload)
    width, height = _size(chunks)
    metadata = Metadata(chunks.get(b"EXIF"), chunks.get(b"XMP "))
    return Header(
        width=width,
        height=height,
        channels=4,
        frames=max(1, frames),
        orientation=read_orientation(metadata),
        profile=chunks.get(b"ICCP"),
        metadata=metadata,
    )


def _chunks(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type and the data of each chunk.

    The length in the first header may be damaged, so it ends the file only after the pixels.
    """
    position, stated, has_pixels = 12, 8 + int.from_bytes(body[4:8], "little"), False
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(body) or (has_pixels and position >= stated):
            return
        kind, size = struct.unpack_from("<4sI", body, position)
        yield kind, body[position + 8 : position + 8 + size]
        has_pixels = has_pixels or kind in _PIXELS
        position += 8 + size + size % 2
    raise FormatError(f"it has more than {_MAX_CHUNKS} chunks")


def _size(chunks: dict[bytes, bytes]) -> tuple[int, int]:
    """Return width and height of the canvas, which libwebp requires to be those of the frame."""
    if b"VP8X" in chunks:
        canvas = chunks[b"VP8X"]
        return 1 + int.from_bytes(canvas[4:7], "little"), 1 + int.from_bytes(canvas[7:10], "little")
    if b"VP8L" in chunks:
        (packed,) = struct.unpack_from("<I", chunks[b"VP8L"], 1)
        return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", chunks[b"VP8 "], 6)
    return width & 0x3FFF, height & 0x3FFF


def decode(body: bytes) -> Raster:
    """Decode the only frame.

    libwebp receives only the chunks that the pixels need: it rejects files whose other chunks, or
    whose length in the first header, are damaged.
    """
    chunks: dict[bytes, bytes] = {}
    for kind, payload in _chunks(body):
        chunks.setdefault(kind, payload)
    needed = [kind for kind in (b"VP8X", b"ALPH", b"VP8 ", b"VP8L") if kind in chunks]
    if needed[-1:] not in ([b"VP8 "], [b"VP8L"]):  # an animation of one frame
        return to_raster(imagecodecs.webp_decode(body))
    if b"VP8X" in chunks:
        flags = _HAS_ALPHA if b"ALPH" in chunks or b"VP8L" in chunks else 0
        chunks[b"VP8X"] = bytes((flags, 0, 0, 0)) + chunks[b"VP8X"][4:]
    data = b"".join(
        struct.pack("<4sI", kind, len(chunks[kind]))
        + chunks[kind]
        + b"\0" * (len(chunks[kind]) % 2)
        for kind in needed
    )
    return to_raster(
        imagecodecs.webp_decode(struct.pack("<4sI4s", b"RIFF", 4 + len(data), b"WEBP") + data)
    )


def encode(samples: Samples, settings: EncodeSettings) -> bytes:
    """Encode (H, W, 3 | 4), lossy."""
    target = BytesIO()
    Image.fromarray(samples).save(
        target,
        "WEBP",
        quality=settings.quality,
        method=METHOD,
        exact=True,  # colours under full transparency stay what they were
        icc_profile=settings.profile,
        exif=settings.metadata.exif or b"",
        xmp=settings.metadata.xmp or b"",
    )
    return target.getvalue()


CODEC = Codec(
    name="webp",
    media_type="image/webp",
    suffixes=(".webp",),
    matches=lambda head: head.startswith(b"RIFF") and head[8:12] == b"WEBP",
    read_header=read_header,
    decode=decode,
    encode=encode,
    default_quality=85,
    max_side=16_383,
    cost=2,
    encode_bytes=(22, 33),
)
