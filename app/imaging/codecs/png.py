"""PNG, 8 and 16 bits: libpng through imagecodecs for the pixels, the chunks by hand.

Chunk names and layouts: W3C, "Portable Network Graphics (PNG) Specification (Third Edition)".
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import imagecodecs

from app.errors import TooMuchMetadata
from app.imaging.codecs.base import Codec
from app.imaging.exif import read_orientation
from app.imaging.icc import cicp_profile, gamma_profile
from app.imaging.raster import (
    EncodeSettings,
    FormatError,
    Header,
    Metadata,
    Raster,
    Samples,
    to_raster,
)

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_XMP_KEYWORD = b"XML:com.adobe.xmp\0"
_MAX_INFLATED = 4 << 20  # bytes of all compressed profiles and texts; real ones are smaller
_MAX_CHUNKS = 100_000  # a chunk of pixels is seldom under 8 KB
_IHDR_END = len(SIGNATURE) + 12 + 13
# A palette, and gray or RGB with a transparent colour, are decoded to RGBA.
_CHANNELS = {0: 2, 2: 4, 3: 4, 4: 2, 6: 4}
_SRGB_PERCEPTUAL = b"\0"


def read_header(body: bytes) -> Header:
    """Read every chunk but the pixels: eXIf and XMP may come after them.

    Raises:
        TooMuchMetadata: what is compressed beside the pixels is a bomb.
    """
    found: dict[bytes, bytes] = {}
    room = _MAX_INFLATED
    for kind, data in _chunks(body):
        room -= _inflated_size(_compressed(kind, data), room)
        if kind == b"iTXt" and not data.startswith(_XMP_KEYWORD):
            continue
        found.setdefault(kind, data)
    width, height, bits, colour_type = struct.unpack_from(">IIBB", found[b"IHDR"])
    exif = found.get(b"eXIf")
    return Header(
        width=width,
        height=height,
        channels=_CHANNELS.get(colour_type, 4),
        bits=bits,
        frames=struct.unpack_from(">I", found[b"acTL"])[0] if b"acTL" in found else 1,
        orientation=read_orientation(exif),
        profile=_profile(found),
        metadata=Metadata(exif, _xmp(found[b"iTXt"]) if b"iTXt" in found else None),
    )


def decode(body: bytes) -> Raster:
    """Decode; palettes are looked up and transparent colours become alpha."""
    return to_raster(imagecodecs.png_decode(body))


def encode(samples: Samples, settings: EncodeSettings) -> bytes:
    """Encode (H, W, 3 | 4) uint8 or uint16."""
    png = imagecodecs.png_encode(
        samples,
        level=1,
        strategy=imagecodecs.PNG.STRATEGY.RLE,
        filter=imagecodecs.PNG.FILTER.SUB,
    )
    metadata = settings.metadata
    chunks = [_chunk(b"sRGB", _SRGB_PERCEPTUAL)]
    if metadata.exif:
        chunks.append(_chunk(b"eXIf", metadata.exif))
    if metadata.xmp:
        chunks.append(_chunk(b"iTXt", _XMP_KEYWORD + b"\0\0\0\0" + metadata.xmp))
    return b"".join((png[:_IHDR_END], *chunks, png[_IHDR_END:]))


def _chunks(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = len(SIGNATURE)
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(body):
            return
        length, kind = struct.unpack_from(">I4s", body, position)
        if kind != b"IDAT":
            yield kind, body[position + 8 : position + 8 + length]
        position += 12 + length
    raise FormatError(f"it has more than {_MAX_CHUNKS} chunks")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I4s", len(data), kind) + data + struct.pack(">I", zlib.crc32(kind + data))


def _profile(found: dict[bytes, bytes]) -> bytes | None:
    """The strongest colour description wins: cICP, iCCP, sRGB, then gAMA with cHRM."""
    if b"cICP" in found:
        primaries, transfer = struct.unpack_from("BB", found[b"cICP"])
        return cicp_profile(primaries, transfer)
    if b"iCCP" in found:
        _, _, method_and_data = found[b"iCCP"].partition(b"\0")
        return _inflated(method_and_data[1:])
    if b"sRGB" in found or not {b"gAMA", b"cHRM"} <= found.keys():
        return None
    (gamma,) = struct.unpack(">I", found[b"gAMA"])
    chromaticities = struct.unpack(">8I", found[b"cHRM"])
    return gamma_profile(100_000 / gamma, [value / 100_000 for value in chromaticities])


def _xmp(itxt: bytes) -> bytes | None:
    compressed = itxt[len(_XMP_KEYWORD)]
    _language, _keyword, text = itxt[len(_XMP_KEYWORD) + 2 :].split(b"\0", 2)
    return _inflated(text) if compressed else text


def _compressed(kind: bytes, data: bytes) -> bytes:
    """What is compressed in a chunk, which libpng inflates even where nobody reads it."""
    _keyword, _, rest = data.partition(b"\0")
    if kind in (b"iCCP", b"zTXt"):
        return rest[1:]
    if kind == b"iTXt" and rest.startswith(b"\1"):
        return rest[2:].split(b"\0", 2)[-1]
    return b""


def _inflated_size(data: bytes, most: int) -> int:
    try:
        size = len(zlib.decompressobj().decompress(data, most + 1))
    except zlib.error:
        return 0
    if size > most:
        raise TooMuchMetadata(
            f"The PNG has more than {_MAX_INFLATED} bytes of compressed text and profiles.",
            max_bytes=_MAX_INFLATED,
        )
    return size


def _inflated(data: bytes) -> bytes | None:
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(data, _MAX_INFLATED)
    except zlib.error:
        return None
    return inflated if inflater.eof else None


CODEC = Codec(
    name="png",
    media_type="image/png",
    suffixes=(".png",),
    matches=lambda head: head.startswith(SIGNATURE),
    read_header=read_header,
    decode=decode,
    encode=encode,
    bit_depth=16,
    cost=3,
)
