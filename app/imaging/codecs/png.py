"""PNG, 8 and 16 bits: libpng through imagecodecs for the pixels; chunks are parsed here.

libpng receives only the chunks that the pixels need: the others can be damaged, or large once
they are inflated. Chunk names and layouts: W3C, "Portable Network Graphics (PNG) Specification
(Third Edition)".
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress

import imagecodecs

from app.errors import NotAnImage, TooMuchMetadata
from app.imaging.codecs.base import ImageCodec
from app.imaging.codecs.jpeg_segments import XMP
from app.imaging.colour import cicp_profile, gamma_profile
from app.imaging.hdr import read_hdr_coding
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

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_XMP_KEYWORD = b"XML:com.adobe.xmp\0"
_XMP_TEXT = b"xml:com.adobe.xmp"  # keywords are compared in lower case
_RAW = b"raw profile type "  # the keywords before there were eXIf and one for XMP
_MAX_INFLATED = 4 << 20  # bytes of all compressed profiles and texts; real ones are smaller
_PIECE = 1 << 16  # bytes that are inflated at a time: those before damage count as well
_MAX_CHUNKS = 100_000  # a chunk of pixels is seldom under 8 KB
IHDR_START, IHDR_LENGTH = 16, 13
_IHDR_END = IHDR_START + IHDR_LENGTH + 4
# A palette, and gray or RGB with a transparent colour, are decoded to RGBA.
_CHANNELS = {0: 2, 2: 4, 3: 4, 4: 2, 6: 4}
_SRGB_PERCEPTUAL = b"\0"
_LIKE_SRGB = range(43_183, 47_728)  # gAMA within 5 % of 1 / 2.2, as browsers compare
_SRGB_CHROMATICITIES = (31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000)
_GAMMAS = range(10_000, 1_000_000)  # others are damage
_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT", b"IDAT"})
_LOWER_CASE = 0x20  # in the first letter: a chunk that decoders may ignore


def read_header(body: bytes) -> Header:
    """Read every chunk but the pixels: eXIf and XMP may come after them.

    Chunks beside the pixels that cannot be read are ignored.

    Raises:
        FormatError: it does not start with a header.
        NotAnImage: it has a chunk that no decoder may ignore, and that is not supported.
        TooMuchMetadata: the compressed data beside the pixels are a bomb.
    """
    found: dict[bytes, bytes] = {}
    texts: dict[bytes, bytes] = {}
    room = _MAX_INFLATED
    for kind, data, whole in read_chunks(body):
        _check_known(kind, whole)
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            keyword, text, size = _read_text(kind, data, room)
            room -= size
            texts.setdefault(keyword.lower(), text)
        elif kind == b"iCCP":
            profile, size = _inflate(data.partition(b"\0")[2][1:], room)
            room -= size
            found.setdefault(kind, profile)
        elif kind != b"IDAT":
            found.setdefault(kind, data)
    if len(found.get(b"IHDR", b"")) != IHDR_LENGTH:
        raise FormatError("it does not start with a header of 13 bytes")
    width, height, bits, colour_type = struct.unpack_from(">IIBB", found[b"IHDR"])
    metadata = _metadata(found, texts)
    return Header(
        width=width,
        height=height,
        channels=_CHANNELS.get(colour_type, 4),
        bits=bits,
        frames=_frames(body),
        orientation=read_orientation(metadata),
        profile=_profile(found),
        hdr=read_hdr_coding(*_code_points(found)),
        metadata=metadata,
    )


def decode(body: bytes) -> Raster:
    """Decode; palettes are looked up and transparent colours become alpha."""
    needed = [whole for kind, _, whole in read_chunks(body) if _is_needed(kind)]
    return to_raster(imagecodecs.png_decode(b"".join((SIGNATURE, *needed))))


def encode(samples: Samples, settings: EncodeSettings) -> bytes:
    """Encode (H, W, 3 | 4) uint8 or uint16."""
    png = imagecodecs.png_encode(
        samples,
        level=1,
        strategy=imagecodecs.PNG.STRATEGY.RLE,
        filter=imagecodecs.PNG.FILTER.SUB,
    )
    metadata = settings.metadata
    chunks = [make_chunk(b"sRGB", _SRGB_PERCEPTUAL)]
    if metadata.exif:
        chunks.append(make_chunk(b"eXIf", metadata.exif))
    if metadata.xmp:
        chunks.append(make_chunk(b"iTXt", _XMP_KEYWORD + b"\0\0\0\0" + metadata.xmp))
    return b"".join((png[:_IHDR_END], *chunks, png[_IHDR_END:]))


def read_chunks(body: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield the type and the data of each chunk up to IEND, and all of it."""
    position = len(SIGNATURE)
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(body):
            return
        length, kind = struct.unpack_from(">I4s", body, position)
        end = position + 12 + length
        yield kind, body[position + 8 : end - 4], body[position:end]
        if kind == b"IEND":
            return
        position = end
    raise FormatError(f"it has more than {_MAX_CHUNKS} chunks")


def _check_known(kind: bytes, whole: bytes) -> None:
    """Raise NotAnImage for a critical chunk that is unknown and not damaged, such as CgBI."""
    critical = kind.isalpha() and not kind[0] & _LOWER_CASE and kind not in _CRITICAL
    if critical and zlib.crc32(whole[4:-4]) == int.from_bytes(whole[-4:]):
        raise NotAnImage(f"A PNG with the critical chunk {kind.decode('ascii')} is not supported.")


def _is_needed(kind: bytes) -> bool:
    return kind == b"tRNS" or not kind[0] & _LOWER_CASE


def _frames(body: bytes) -> int:
    """Count the frames of an animation: it is one only if acTL comes first, and data of frames."""
    kinds = [kind for kind, _, _ in read_chunks(body) if kind in _ANIMATION]
    animated = kinds[:1] == [b"acTL"] and b"fdAT" in kinds
    return max(1, kinds.count(b"fcTL")) if animated else 1


def make_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk with its length and its checksum."""
    return struct.pack(">I4s", len(data), kind) + data + struct.pack(">I", zlib.crc32(kind + data))


def _profile(found: dict[bytes, bytes]) -> bytes | None:
    """Return the strongest description of colours: cICP, iCCP, sRGB, then gAMA with cHRM.

    As in browsers, gAMA alone comes with the primaries of sRGB, and about 1/2.2 alone is sRGB.
    """
    if len(found.get(b"cICP", b"")) == 4:
        return cicp_profile(*_code_points(found))
    if found.get(b"iCCP"):
        return found[b"iCCP"]
    gamma = int.from_bytes(found.get(b"gAMA", b"")[:4])
    if b"sRGB" in found or len(found.get(b"gAMA", b"")) != 4 or gamma not in _GAMMAS:
        return None
    chromaticities = _SRGB_CHROMATICITIES
    if len(found.get(b"cHRM", b"")) == 32:
        chromaticities = struct.unpack(">8I", found[b"cHRM"])
    elif gamma in _LIKE_SRGB:
        return None
    with suppress(imagecodecs.CmsError, ValueError):
        return gamma_profile(100_000 / gamma, [value / 100_000 for value in chromaticities])
    return None


def _code_points(found: dict[bytes, bytes]) -> tuple[int, int]:
    """Return primaries and transfer characteristics of cICP; 2 is "unspecified"."""
    primaries, transfer, *_ = found.get(b"cICP", b"").ljust(4, b"\2")
    return primaries, transfer


def _metadata(found: dict[bytes, bytes], texts: dict[bytes, bytes]) -> Metadata:
    """Return EXIF and XMP of their chunks, or else of the older texts."""
    raw = {kind: _read_raw_profile(texts.get(_RAW + kind, b"")) for kind in (b"exif", b"xmp")}
    app1 = _read_raw_profile(texts.get(_RAW + b"app1", b"")) or b""  # a segment of a JPEG
    is_xmp = app1.startswith(XMP)
    exif = found.get(b"eXIf") or raw[b"exif"] or (b"" if is_xmp else app1)
    packet = texts.get(_XMP_TEXT) or raw[b"xmp"] or (app1.removeprefix(XMP) if is_xmp else b"")
    return Metadata(exif or None, packet or None)


def _read_raw_profile(text: bytes) -> bytes | None:
    """Read a block in hexadecimal behind its name and its length, as ImageMagick writes it."""
    words = text.split(maxsplit=2)
    with suppress(IndexError, ValueError):
        return bytes.fromhex(words[2].decode("ascii")) or None
    return None


def _read_text(kind: bytes, data: bytes, most: int) -> tuple[bytes, bytes, int]:
    """Return keyword, text and bytes inflated; an empty text where it cannot be read."""
    keyword, _, text = data.partition(b"\0")
    is_compressed, rest = False, text
    if kind == b"zTXt":
        is_compressed, rest = True, text[1:]
    elif kind == b"iTXt":
        is_compressed = text.startswith(b"\1")
        *_, rest = text[2:].split(b"\0", 2)  # after the language and the translated keyword
    content, size = _inflate(rest, most) if is_compressed else (rest, len(rest))
    return keyword, content, size


def _inflate(data: bytes, most: int) -> tuple[bytes, int]:
    """Inflate data; return nothing where they are damaged, and how many bytes were inflated.

    Raises:
        TooMuchMetadata: it has more bytes than `most`.
    """
    inflater, pieces, size = zlib.decompressobj(), list[bytes](), 0
    with suppress(zlib.error):
        while data and not inflater.eof:
            pieces.append(inflater.decompress(data, _PIECE))
            data, size = inflater.unconsumed_tail, size + len(pieces[-1])
            if size > most:
                raise TooMuchMetadata(
                    f"The PNG has more than {_MAX_INFLATED} bytes of compressed text and profiles.",
                    max_bytes=_MAX_INFLATED,
                )
    return b"".join(pieces) if inflater.eof else b"", size


CODEC = ImageCodec(
    name="png",
    media_type="image/png",
    suffixes=(".png",),
    matches=lambda head: head.startswith(SIGNATURE),
    read_header=read_header,
    decode=decode,
    encode=encode,
    bit_depth=16,
    cost=3,
    encode_bytes=(14, 36),
)
