"""JPEG XL: libjxl through imagecodecs for the pixels, the container boxes by hand.

Boxes: ISO/IEC 18181-2 (file format) and ISO/IEC 14496-12 (boxes).
"""

from __future__ import annotations

import struct

import imagecodecs

from app.errors import NotAnImage
from app.imaging.codecs import jxl_header
from app.imaging.codecs.base import Codec
from app.imaging.codecs.bmff import read_boxes
from app.imaging.colour import cicp_profile
from app.imaging.hdr import read_hdr_coding
from app.imaging.raster import EncodeSettings, Header, Metadata, Raster, Samples, to_raster

_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_FILE_TYPE = b"jxl \0\0\0\0jxl "
_PARTIAL_INDEX = 4  # bytes before the codestream in a jxlp box
_EXIF_OFFSET = 4  # bytes before the TIFF structure in an Exif box
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
    found: dict[bytes, bytes] = {}
    for kind, payload in read_boxes(body):
        found.setdefault(kind, payload)
    codestream = found.get(b"jxlc") or found.get(b"jxlp", b"")[_PARTIAL_INDEX:]
    exif = found.get(b"Exif", b"")[_EXIF_OFFSET:]
    return codestream, Metadata(exif or None, found.get(b"xml "))


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
