"""Animated PNG: each frame is a PNG of its own in the chunks of another.

Chunks: W3C, "Portable Network Graphics (PNG) Specification (Third Edition)", section 11.3.5.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import imagecodecs

from app.imaging.codecs import png
from app.imaging.codecs.base import AnimationCodec, ImageCodec
from app.imaging.codecs.frames import (
    AnimationSettings,
    BoundedFile,
    Frame,
    StoredFrame,
    compose,
    find_changes,
    to_rgba,
)
from app.imaging.codecs.png import SIGNATURE, make_chunk, read_chunks
from app.imaging.raster import (
    Animation,
    EncodeSettings,
    FormatError,
    Header,
    Raster,
    Samples,
    to_raster,
)

_CONTROL = struct.Struct(">5I2H2B")  # fcTL: sequence, width, height, left, top, delay, operations
_DEFAULT_DENOMINATOR = 100  # of a delay, where it states 0
_MAX_TERM = 65_535  # of the fraction that a delay is
_DISPOSALS: tuple[Literal["keep", "clear", "restore"], ...] = ("keep", "clear", "restore")


@dataclass
class _Part:
    """The chunks of one frame."""

    control: bytes
    data: list[bytes]

    @property
    def seconds(self) -> Fraction:
        numerator, denominator = struct.unpack_from(">HH", self.control, 20)
        return Fraction(numerator, denominator or _DEFAULT_DENOMINATOR)


def matches(head: bytes) -> bool:
    """Return whether it is a PNG that announces an animation before its image."""
    if not head.startswith(SIGNATURE):
        return False
    kinds = (kind for kind, _, _ in read_chunks(head))
    return next((kind for kind in kinds if kind in (b"acTL", b"IDAT")), None) == b"acTL"


def read_header(body: bytes) -> Header:
    """Read every chunk but the pixels, and those that control the frames."""
    header = replace(png.read_header(body), frames=1)
    parts = list(_parts(body))
    announced = next(data for kind, data, _ in read_chunks(body) if kind == b"acTL")
    if 0 < len(parts) < int.from_bytes(announced[:4]):
        raise FormatError("it has fewer frames than it announces")
    if len(parts) < 2:
        return header
    seconds = float(sum(part.seconds for part in parts))
    plays = int.from_bytes(announced[4:8])
    return replace(header, animation=Animation(len(parts), seconds, plays))


def _parts(body: bytes) -> Iterator[_Part]:
    """Yield the frames; the image before the first control chunk is none.

    Raises:
        FormatError: chunks are missing, or out of sequence.
    """
    part: _Part | None = None
    sequence = 0
    for kind, data, _ in read_chunks(body):
        if kind in (b"fcTL", b"fdAT"):
            if int.from_bytes(data[:4]) != sequence or len(data) < 4:
                raise FormatError("its frames are out of sequence")
            sequence += 1
        if kind == b"fcTL":
            if part is not None:
                yield part
            if len(data) != _CONTROL.size:
                raise FormatError("a frame has no complete header")
            part = _Part(data, [])
        elif part is not None and kind in (b"IDAT", b"fdAT"):
            part.data.append(data[4:] if kind == b"fdAT" else data)
    if part is not None:
        yield part


def decode(body: bytes) -> Raster:
    """Decode the first frame of an animation, or the image of a file that is none."""
    if len(list(_parts(body))) < 2:
        return png.decode(body)
    canvas, _ = next(compose(read(body), *struct.unpack_from(">II", body, png.IHDR_START)))
    return to_raster(canvas)


def read(body: bytes) -> Iterator[StoredFrame]:
    """Decode the frames; 16 bits are rounded to 8."""
    start, end = png.IHDR_START, png.IHDR_START + png.IHDR_LENGTH
    canvas = struct.unpack_from(">II", body, start)
    shared = [whole for kind, _, whole in read_chunks(body) if kind in (b"PLTE", b"tRNS")]
    for part in _parts(body):
        _, width, height, left, top, _, _, disposal, blend = _CONTROL.unpack(part.control)
        if left + width > canvas[0] or top + height > canvas[1]:
            raise FormatError("a frame is not within its canvas")
        if not part.data or disposal >= len(_DISPOSALS):
            raise FormatError("a frame is not complete")
        header = struct.pack(">II", width, height) + body[start + 8 : end]
        image = (make_chunk(b"IHDR", header), *shared, make_chunk(b"IDAT", b"".join(part.data)))
        pixels = to_rgba(
            imagecodecs.png_decode(b"".join((SIGNATURE, *image, make_chunk(b"IEND", b""))))
        )
        over, disposed = bool(blend), _DISPOSALS[disposal]
        yield StoredFrame(left, top, pixels, part.seconds, over=over, disposal=disposed)


def write(frames: Iterator[Frame], settings: AnimationSettings) -> bytes:
    """Encode an animation; a frame holds the rectangle that changes."""
    output = BoundedFile(settings.max_bytes)
    still = EncodeSettings(0, "444", settings.metadata, settings.profile)
    sequence = 0
    for left, top, samples, seconds in find_changes(frames):
        height, width, _ = samples.shape
        chunks = list(read_chunks(png.encode(samples, still)))
        if not output.tell():
            control = struct.pack(">II", settings.frames, settings.plays)
            before = [whole for kind, _, whole in chunks if kind not in (b"IDAT", b"IEND")]
            output.write(b"".join((SIGNATURE, *before, make_chunk(b"acTL", control))))
        delay = _to_delay(seconds)
        control = _CONTROL.pack(sequence, width, height, left, top, *delay, 0, 0)
        output.write(make_chunk(b"fcTL", control))
        data = b"".join(data for kind, data, _ in chunks if kind == b"IDAT")
        if sequence:
            sequence += 1
            output.write(make_chunk(b"fdAT", struct.pack(">I", sequence) + data))
        else:
            output.write(make_chunk(b"IDAT", data))
        sequence += 1
    output.write(make_chunk(b"IEND", b""))
    return output.getvalue()


def _to_delay(seconds: Fraction) -> tuple[int, int]:
    """Return the nearest fraction of two numbers of 16 bits."""
    seconds = min(seconds, Fraction(_MAX_TERM))
    delay = seconds.limit_denominator(int(_MAX_TERM / max(Fraction(1), seconds)))
    return delay.numerator, delay.denominator


def encode(samples: Samples, settings: EncodeSettings) -> bytes:
    """Encode (H, W, 3 | 4) uint8 or uint16 as the only frame."""
    still = png.encode(samples, settings)
    height, width, _ = samples.shape
    control = _CONTROL.pack(0, width, height, 0, 0, 0, 1, 0, 0)
    added = make_chunk(b"acTL", struct.pack(">II", 1, 1)) + make_chunk(b"fcTL", control)
    end = png.IHDR_START + png.IHDR_LENGTH + 4
    return still[:end] + added + still[end:]


CODEC = ImageCodec(
    name="apng",
    media_type="image/apng",
    suffixes=(".apng", ".png"),
    matches=matches,
    read_header=read_header,
    decode=decode,
    animation=AnimationCodec(read=read, write=write),
    encode=encode,
    bit_depth=16,
    cost=8,
    encode_bytes=(14, 36),
)
