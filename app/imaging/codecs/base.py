"""The descriptor of an image format: everything that the rest of the service uses of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from app.imaging.codecs.frames import AnimationSettings, Frame, StoredFrame
from app.imaging.raster import EncodeSettings, Header, Raster, Samples

MAX_HEAD = 1 << 16  # bytes from the start of a file that `ImageCodec.matches` receives

MapColours = Callable[[Samples], Samples]  # of a palette (1, N, 3) uint8


@dataclass(frozen=True, kw_only=True)
class AnimationCodec:
    """How the frames of a format are read and written, one after the other.

    Attributes:
        read: yields the frames as they are stored.
        write: encodes frames (H, W, 3 | 4) of one size, with their durations.
        map_palettes: replaces the colours of the palettes that all frames have, and nothing else,
            or returns None where a frame has none; None for formats without palettes. Leaves out
            texts and metadata unless they are to be kept.
    """

    read: Callable[[bytes], Iterator[StoredFrame]]
    write: Callable[[Iterator[Frame], AnimationSettings], bytes]
    map_palettes: Callable[[bytes, MapColours, bool], bytes | None] | None = None


@dataclass(frozen=True, kw_only=True)
class ImageCodec:
    """One image format.

    The functions raise whatever their library raises; `app.imaging.probe.decode_errors` turns it
    into a Problem.

    Attributes:
        name: the value of the query parameter `format`.
        media_type: the registered media type.
        suffixes: of file names, with the dot; the first is the one that is written.
        matches: returns from the first `MAX_HEAD` bytes whether a file is of this format.
        read_header: reads everything but the pixels.
        decode: decodes the only, or the primary, image.
        decode_reduced: decodes at the smallest scale whose short side has at least the given
            number of pixels, or None where the format has no cheaper way than `decode`.
        decode_truncated: decodes a file that is cut short, at a scale as `decode_reduced`, and
            fills the missing part with gray; or None.
        read_gain_map: returns the gain map of an image with a header, or None: a JPEG with nothing
            but its own parameters, which makes an HDR image of the upright image. Never raises.
        animation: reads and writes animations, or None for formats of which only stills are read.
        encode: encodes (H, W, 3 | 4) RGB or RGBA samples, or None for formats that are only read.
        bit_depth: the most bits of a channel that `encode` writes.
        has_alpha: whether `encode` writes an alpha channel; otherwise images are laid on white.
        default_quality: 1..100, or None for lossless formats.
        max_side: the most pixels on a side that the format can hold, or None.
        cost: rank of the time that encoding takes; clients that accept several formats alike get
            the cheapest.
        encode_bytes: the most bytes of memory that `encode` takes for each pixel, those of the
            pixels included: of images with 8 and with 16 bits, and alpha.
        trusted: whether the decoder may read untrusted files in the process of the server. It must
            read the size by the same code that decodes, and never allocate more than that size.
        requires: the extra to install where the library is missing, or None if it is there.
    """

    name: str
    media_type: str
    suffixes: tuple[str, ...]
    matches: Callable[[bytes], bool]
    read_header: Callable[[bytes], Header]
    decode: Callable[[bytes], Raster]
    decode_reduced: Callable[[bytes, int], Raster] | None = None
    decode_truncated: Callable[[bytes, int], Raster] | None = None
    read_gain_map: Callable[[bytes, Header], bytes | None] | None = None
    animation: AnimationCodec | None = None
    encode: Callable[[Samples, EncodeSettings], bytes] | None = None
    bit_depth: Literal[8, 16] = 8
    has_alpha: bool = True
    default_quality: int | None = None
    max_side: int | None = None
    cost: int = 0
    encode_bytes: tuple[int, int] = (35, 47)  # AVIF and JPEG XL
    trusted: bool = False
    requires: str | None = None
