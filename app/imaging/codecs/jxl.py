"""JPEG XL: libjxl through imagecodecs for the pixels; boxes and headers are parsed here.

No library at hand reads the header of a codestream without decoding the pixels. Boxes: ISO/IEC
18181-2 and 14496-12. Headers: ISO/IEC 18181-1:2024, annexes B (field types), D and E (colours).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import imagecodecs

from app.errors import NotAnImage
from app.imaging.codecs.base import ImageCodec
from app.imaging.codecs.bmff import check_boxes, read_boxes
from app.imaging.colour import cicp_profile
from app.imaging.hdr import read_hdr_coding
from app.imaging.raster import (
    EncodeSettings,
    FormatError,
    Header,
    Metadata,
    Raster,
    Samples,
    to_raster,
)

_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_FILE_TYPE = b"jxl \0\0\0\0jxl "
_PARTIAL_INDEX = 4  # bytes before the codestream in a jxlp box
_MAX_INFLATED = 4 << 20  # bytes of a compressed box; real ones are smaller
_EXIF_OFFSET = 4  # bytes of the number of bytes before the TIFF structure in an Exif box
_TIFF = (b"II*\0", b"MM\0*")
_P3, _DISPLAY_P3 = 11, 12  # JPEG XL keeps the white point apart; H.273 has a code for both
EFFORT = 3  # 1 fastest .. 9 smallest
SIGNATURE = b"\xff\x0a"
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_RGB, _XYB = 0, 2  # colour spaces
_ALPHA, _SPOT_COLOUR, _CFA = 0, 2, 5  # types of extra channels
_CUSTOM = 2  # white point or primaries that are given as coordinates


@dataclass(frozen=True)
class CodestreamHeader:
    """The properties of a codestream, read before its first frame.

    Attributes:
        width, height: in pixels, as stored.
        bits: of a sample.
        orientation: 1..8 as in EXIF.
        animated: whether it holds frames that follow each other in time.
        has_icc: whether the colours are described by an ICC profile.
        xyb: whether the pixels are coded in the XYB space, from which they are decoded to sRGB
            where the image has an ICC profile.
        primaries: a code point of ITU-T H.273, or None for sRGB.
        transfer: a code point of ITU-T H.273, or None for sRGB or a plain gamma.
    """

    width: int
    height: int
    bits: int = 8
    orientation: int = 1
    animated: bool = False
    has_icc: bool = False
    xyb: bool = True
    primaries: int | None = None
    transfer: int | None = None


def read_header(body: bytes) -> Header:
    """Read the boxes and the start of the codestream.

    Raises:
        NotAnImage: its pixels are stored in the colours of an ICC profile that cannot be read.
    """
    codestream, metadata = _read_container(body)
    header = parse_codestream_header(codestream)
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
    """Return the content of a brob box, or nothing where that is damaged or very large."""
    try:
        return bytes(imagecodecs.brotli_decode(payload, out=_MAX_INFLATED))
    except imagecodecs.BrotliError:
        return b""


def _box(kind: bytes, payload: bytes | bytearray) -> bytes:
    return struct.pack(">I4s", 8 + len(payload), kind) + payload


CODEC = ImageCodec(
    name="jxl",
    media_type="image/jxl",
    suffixes=(".jxl",),
    matches=lambda head: head.startswith((SIGNATURE, _CONTAINER)),
    read_header=read_header,
    decode=decode,
    encode=encode,
    bit_depth=16,
    default_quality=85,
    cost=4,
)


class _Bits:
    """Reads fields from the least significant bit of the first byte on."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def u(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise FormatError("the header is cut short")
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        return value

    def u32(self, *choices: tuple[int, int]) -> int:
        """Read U32: two bits choose one of four (offset, number of bits)."""
        offset, count = choices[self.u(2)]
        return offset + self.u(count)

    def enum(self) -> int:
        return self.u32((0, 0), (1, 0), (2, 4), (18, 6))


def parse_codestream_header(data: bytes) -> CodestreamHeader:
    """Parse the start of a codestream; a few hundred bytes are enough.

    Raises:
        FormatError: it is not a codestream, or is cut short.
    """
    if not data.startswith(SIGNATURE):
        raise FormatError("it holds no codestream")
    bits = _Bits(data[2:1024])
    width, height = _size(bits)
    if bits.u(1):  # all_default
        return CodestreamHeader(width, height)
    orientation, animated = 1, False
    if bits.u(1):  # extra_fields
        orientation = 1 + bits.u(3)
        if bits.u(1):
            _size(bits)  # the intrinsic size
        if bits.u(1):
            _preview(bits)
        animated = bool(bits.u(1))
        if animated:
            _animation(bits)
    depth = _bit_depth(bits)
    bits.u(1)  # modular_16bit_buffers
    for _ in range(bits.u32((0, 0), (1, 0), (2, 4), (1, 12))):
        _extra_channel(bits)
    xyb = bool(bits.u(1))
    has_icc, primaries, transfer = _colour_encoding(bits)
    return CodestreamHeader(
        width, height, depth, orientation, animated, has_icc, xyb, primaries, transfer
    )


def _size(bits: _Bits) -> tuple[int, int]:
    by_eight = bits.u(1)

    def side() -> int:
        choices = (1, 9), (1, 13), (1, 18), (1, 30)
        return 8 * (1 + bits.u(5)) if by_eight else bits.u32(*choices)

    height = side()
    ratio = bits.u(3)
    if ratio == 0:
        return side(), height
    numerator, denominator = _RATIOS[ratio]
    return height * numerator // denominator, height


def _preview(bits: _Bits) -> None:
    by_eight = ((16, 0), (32, 0), (1, 5), (33, 9))
    choices = by_eight if bits.u(1) else ((1, 6), (65, 8), (321, 10), (1345, 12))
    bits.u32(*choices)
    if bits.u(3) == 0:
        bits.u32(*choices)


def _animation(bits: _Bits) -> None:
    bits.u32((100, 0), (1000, 0), (1, 10), (1, 30))
    bits.u32((1, 0), (1001, 0), (1, 8), (1, 10))
    bits.u32((0, 0), (0, 3), (0, 16), (0, 32))
    bits.u(1)


def _bit_depth(bits: _Bits) -> int:
    if bits.u(1):  # floats
        depth = bits.u32((32, 0), (16, 0), (24, 0), (1, 6))
        bits.u(4)
        return depth
    return bits.u32((8, 0), (10, 0), (12, 0), (1, 6))


def _extra_channel(bits: _Bits) -> None:
    if bits.u(1):  # all_default: 8 bits of straight alpha
        return
    kind = bits.enum()
    _bit_depth(bits)
    bits.u32((0, 0), (3, 0), (4, 0), (1, 3))
    for _ in range(bits.u32((0, 0), (0, 4), (16, 5), (48, 10))):
        bits.u(8)  # the name
    if kind == _ALPHA:
        bits.u(1)
    elif kind == _SPOT_COLOUR:
        bits.u(4 * 16)
    elif kind == _CFA:
        bits.u32((1, 0), (0, 2), (3, 4), (19, 8))


def _colour_encoding(bits: _Bits) -> tuple[bool, int | None, int | None]:
    """Return whether there is an ICC profile, and the primaries and transfer of H.273."""
    if bits.u(1):  # all_default: sRGB
        return False, None, None
    has_icc, space = bool(bits.u(1)), bits.enum()
    if has_icc or space == _XYB:
        return has_icc, None, None
    if bits.enum() == _CUSTOM:  # the white point
        _coordinates(bits, 1)
    primaries = bits.enum() if space == _RGB else None
    if primaries == _CUSTOM:
        _coordinates(bits, 3)
    transfer = None if bits.u(1) else bits.enum()
    return False, primaries, transfer


def _coordinates(bits: _Bits, count: int) -> None:
    for _ in range(2 * count):
        bits.u32((0, 19), (524_288, 19), (1_048_576, 20), (2_097_152, 21))
