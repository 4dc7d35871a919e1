"""WebP: Pillow writes, libwebp decodes straight into numpy."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from io import BytesIO

import imagecodecs
from PIL import Image

from app.imaging.codecs.base import AnimationCodec, ImageCodec
from app.imaging.codecs.frames import (
    AnimationSettings,
    BoundedFile,
    Clock,
    Frame,
    StoredFrame,
    compose,
    find_changes,
    to_rgba,
)
from app.imaging.metadata import read_orientation
from app.imaging.raster import (
    Animation,
    EncodeSettings,
    FormatError,
    Header,
    Metadata,
    Raster,
    Samples,
    to_raster,
)

METHOD = 2  # 0 fastest .. 6 smallest: 3 takes twice as long for 2 % smaller files
_HAS_ICC, _HAS_ALPHA, _HAS_EXIF, _HAS_XMP, _IS_ANIMATED = 0x20, 0x10, 8, 4, 2  # flags of VP8X
_REPLACES, _CLEARS = 2, 1  # flags of a frame: it is not blended, and it is cleared afterwards
_RIFF_LENGTH = 12  # bytes before the chunks of a file
_ANMF_LENGTH = 16  # bytes before the image of a frame
_IMAGE_CHUNKS = (b"ALPH", b"VP8 ", b"VP8L")
_UNIT = Fraction(1, 1000)  # of durations, in seconds
_BARE = EncodeSettings(0, "420", Metadata(), b"")  # of the image of a frame
_PIXELS = frozenset({b"VP8 ", b"VP8L", b"ANMF"})
_MAX_CHUNKS = 100_000  # an animation has one for each frame


def read_header(body: bytes) -> Header:
    """Read the chunks of the RIFF container, RFC 9649; nothing is decoded."""
    chunks: dict[bytes, bytes] = {}
    frames = milliseconds = 0
    for kind, payload in _chunks(body):
        if kind == b"ANMF":
            frames += 1
            milliseconds += int.from_bytes(payload[12:15], "little")
        chunks.setdefault(kind, payload)
    width, height = _size(chunks)
    metadata = Metadata(chunks.get(b"EXIF"), chunks.get(b"XMP "))
    plays = int.from_bytes(chunks.get(b"ANIM", b"")[4:6], "little")
    return Header(
        width=width,
        height=height,
        channels=4,
        animation=Animation(frames, milliseconds / 1000, plays) if frames > 1 else None,
        orientation=read_orientation(metadata),
        profile=chunks.get(b"ICCP"),
        metadata=metadata,
    )


def _chunks(body: bytes, position: int = _RIFF_LENGTH) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type and the data of each chunk.

    The length in the first header may be damaged, so it ends the file only after the pixels.
    """
    is_file, has_pixels = position == _RIFF_LENGTH, False  # or the image of a frame
    stated = 8 + int.from_bytes(body[4:8], "little") if is_file else len(body)
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
    """Decode the only frame, or the first one."""
    chunks: dict[bytes, bytes] = {}
    for kind, payload in _chunks(body):
        chunks.setdefault(kind, payload)
    if b"ANMF" in chunks:
        canvas, _ = next(compose(read(body), *_size(chunks)))
        return to_raster(canvas)
    return to_raster(_decode_image(chunks))


def _decode_image(chunks: dict[bytes, bytes]) -> Samples:
    """Decode a still image.

    libwebp receives only the chunks that the pixels need: it rejects files whose other chunks, or
    whose length in the first header, are damaged.
    """
    needed = [kind for kind in (b"VP8X", b"ALPH", b"VP8 ", b"VP8L") if kind in chunks]
    if needed[-1:] not in ([b"VP8 "], [b"VP8L"]):
        raise FormatError("it has no image")
    if b"VP8X" in chunks:
        flags = _HAS_ALPHA if b"ALPH" in chunks or b"VP8L" in chunks else 0
        chunks = chunks | {b"VP8X": bytes((flags, 0, 0, 0)) + chunks[b"VP8X"][4:]}
    data = b"".join(_chunk(kind, chunks[kind]) for kind in needed)
    samples: Samples = imagecodecs.webp_decode(_riff(data))
    return samples


def _riff(data: bytes) -> bytes:
    return struct.pack("<4sI4s", b"RIFF", 4 + len(data), b"WEBP") + data


def _chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack("<4sI", kind, len(payload)) + payload + b"\0" * (len(payload) % 2)


def read(body: bytes) -> Iterator[StoredFrame]:
    """Decode the frames of an animation."""
    for kind, payload in _chunks(body):
        if kind == b"ANMF":
            left, top, width, height, milliseconds = (
                int.from_bytes(payload[start : start + 3], "little") for start in range(0, 15, 3)
            )
            canvas = bytes(4) + payload[6:12]
            chunks = {b"VP8X": canvas} | dict(_chunks(payload, _ANMF_LENGTH))
            pixels = to_rgba(_decode_image(chunks))
            if pixels.shape[:2] != (height + 1, width + 1):
                raise FormatError("a frame has another size than its header states")
            yield StoredFrame(
                2 * left,
                2 * top,
                pixels,
                milliseconds * _UNIT,
                over=not payload[15] & _REPLACES,
                disposal="clear" if payload[15] & _CLEARS else "keep",
            )


def encode(samples: Samples, settings: EncodeSettings) -> bytes:
    """Encode (H, W, 3 | 4), lossy."""
    target = BytesIO()
    Image.fromarray(samples).save(
        target,
        "WEBP",
        quality=settings.quality,
        method=METHOD,
        exact=True,  # colours under full transparency stay the same
        icc_profile=settings.profile or None,
        exif=settings.metadata.exif or b"",
        xmp=settings.metadata.xmp or b"",
    )
    return target.getvalue()


def write(frames: Iterator[Frame], settings: AnimationSettings) -> bytes:
    """Encode an animation, lossy; a frame holds the rectangle that changes.

    The encoder of libwebp joins equal frames to one, so the container is written here.
    """
    output, clock = BoundedFile(settings.max_bytes), Clock(_UNIT)
    metadata, still = settings.metadata, replace(_BARE, quality=settings.quality)
    flags = _IS_ANIMATED | _HAS_ICC
    flags |= _HAS_EXIF * bool(metadata.exif) | _HAS_XMP * bool(metadata.xmp)
    for left, top, samples, seconds in find_changes(frames, step=2):  # as places are stored
        height, width, channels = samples.shape
        if not output.tell():
            flags |= _HAS_ALPHA * (channels == 4)
            canvas = struct.pack("<I", flags) + _uint24(width - 1, height - 1)
            plays = struct.pack("<IH", 0, min(settings.plays, 65535))
            output.write(_riff(_chunk(b"VP8X", canvas)))
            output.write(_chunk(b"ICCP", settings.profile) + _chunk(b"ANIM", plays))
        duration = min(clock.round(seconds), 0xFFFFFF)
        fields = _uint24(left // 2, top // 2, width - 1, height - 1, duration)
        image = dict(_chunks(encode(samples, still)))
        data = b"".join(_chunk(kind, image[kind]) for kind in _IMAGE_CHUNKS if kind in image)
        output.write(_chunk(b"ANMF", fields + bytes((_REPLACES,)) + data))
    for kind, block in ((b"EXIF", metadata.exif), (b"XMP ", metadata.xmp)):
        if block:
            output.write(_chunk(kind, block))
    length = output.tell()
    output.seek(4)
    output.write(struct.pack("<I", length - 8))
    return output.getvalue()


def _uint24(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(3, "little") for number in numbers)


CODEC = ImageCodec(
    name="webp",
    media_type="image/webp",
    suffixes=(".webp",),
    matches=lambda head: head.startswith(b"RIFF") and head[8:12] == b"WEBP",
    read_header=read_header,
    decode=decode,
    animation=AnimationCodec(read=read, write=write),
    encode=encode,
    default_quality=85,
    max_side=16_383,
    cost=2,
    encode_bytes=(22, 33),
)
