"""JPEG XL: libjxl through imagecodecs for the pixels, the container boxes by hand.

Boxes: ISO/IEC 18181-2 (file format) and ISO/IEC 14496-12 (boxes).
"""

from __future__ import annotations

import struct

import imagecodecs

from app.errors import NotAnImage
from app.imaging.codecs import jxl_header
from app.imaging.codecs.base import Codec
from app.imaging.codecs.bmff import check_boxes, read_boxes
from app.imaging.colour import cicp_profile
from app.imaging.hdr import read_hdr_coding
from app.imaging.raster import EncodeSettings, Header, Metadata, Raster, Samples, to_raster

_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_FILE_TYPE = b"jxl \0\0\0\0jxl "
_PARTIAL_INDEX = 4  # bytes before the codestream in a jxlp box
_MAX_INFLATED = 4 << 20  # bytes of a compressed box; real ones are smaller
_EXIF_OFFSET = 4  # bytes of the number of bytes before the TIFF structure in an Exif box
_TIFF = (b"II*\0", b"MM\0*")
_P3, _DISPLAY_P3 = 11, 12  # JPEG XL keeps the white point apart; H.273 has a code for both
EFFORT = 3  # 1 fastest .. 9 smallest: 4 takes twice as long for 5 % smaller files


def read_header(body: bytes) -> Header:
    """Read the boxes and the start of the codestream.

    Raises:
        NotAnImage: its pixels are stored in the colours of an ICC profile that cannot be read.
    """
    codestream, metadata = _read_container(body)
    header = jxl_header.parse_codestream_header(codestream)
    if header.has_icc and not header.xyb:
        raise NotAnImage("A lossless JPEG XL with an ICC profile is not supported.")
    profile = hdr = None
    if header.primaries is not None and header.transfer is not None:
        primaries = _DISPLAY_P3 if header.primaries == _P3 else header.primaries
        profile = cicp_profile(primaries, header.transfer)
        hdr = read_hdr_coding(primaries, header.transfer)
    sideways = header.orientation >= 5  # libjxl turns the pixels itself
    return Header(
        width=header.height if sideways else header.width,
        height=header.width if sideways else header.height,
        channels=4,
        bits=header.bits,
        frames=2 if header.animated else 1,
        profile=profile,
        hdr=hdr,
        metadata=metadata,
    )


def decode(body: bytes) -> Raster:
    """Decode the only frame, upright."""
    return to_raster(imagecodecs.jpegxl_decode(body, index=0, numthreads=1))


def encode(samples: Samples, settings: EncodeSettings) -> bytes:
    """Encode (H, W, 3 | 4) uint8 or uint16 in sRGB, lossy."""
    codestream = imagecodecs.jpegxl_encode(
        samples, distance=_distance(settings.quality), effort=EFFORT, numthreads=1
    )
    boxes = [_box(b"ftyp", _FILE_TYPE)]
    if settings.metadata.exif:
        boxes.append(_box(b"Exif", bytes(_EXIF_OFFSET) + settings.metadata.exif))
    if settings.metadata.xmp:
        boxes.append(_box(b"xml ", settings.metadata.xmp))
    return b"".join((_CONTAINER, *boxes, _box(b"jxlc", codestream)))


def _distance(quality: int) -> float:
    """Return the Butteraugli distance of a quality 1..100, as libjxl computes it."""
    if quality >= 30:
        return 0.1 + (100 - quality) * 0.09
    return 53 / 3000 * quality**2 - 23 / 20 * quality + 25


def _read_container(body: bytes) -> tuple[bytes, Metadata]:
    """Return the start of the codestream, and the metadata of the boxes beside it."""
    if not body.startswith(_CONTAINER):
        return body, Metadata()
    check_boxes(body)
    found: dict[bytes, bytes] = {}
    parts: list[bytes] = []
    for kind, payload in read_boxes(body):
        if kind == b"jxlp":
            parts.append(payload[_PARTIAL_INDEX:])
        elif kind == b"brob":
            found.setdefault(payload[:4], _decompress(payload[4:]))
        else:
            found.setdefault(kind, payload)
    codestream = found.get(b"jxlc") or b"".join(parts)
    exif = found.get(b"Exif", b"")
    if not exif.startswith(_TIFF):  # some writers leave out the offset
        exif = exif[_EXIF_OFFSET + int.from_bytes(exif[:_EXIF_OFFSET]) :]
    return codestream, Metadata(exif or None, found.get(b"xml ") or None)


def _decompress(payload: bytes) -> bytes:
    """Return what a brob box holds, or nothing where that is damaged or very large."""
    try:
        return bytes(imagecodecs.brotli_decode(payload, out=_MAX_INFLATED))
    except imagecodecs.BrotliError:
        return b""


def _box(kind: bytes, payload: bytes | bytearray) -> bytes:
    return struct.pack(">I4s", 8 + len(payload), kind) + payload


CODEC = Codec(
    name="jxl",
    media_type="image/jxl",
    suffixes=(".jxl",),
    matches=lambda head: head.startswith((jxl_header.SIGNATURE, _CONTAINER)),
    read_header=read_header,
    decode=decode,
    encode=encode,
    bit_depth=16,
    default_quality=85,
    cost=4,
)
