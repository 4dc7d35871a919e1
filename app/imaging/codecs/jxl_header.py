"""The header of a JPEG XL codestream, which no library at hand reads without decoding the pixels.

Layout: ISO/IEC 18181-1:2024, annexes B (field types), D (headers) and E (colour encoding).
"""

from __future__ import annotations

from dataclasses import dataclass

from app.imaging.raster import FormatError

SIGNATURE = b"\xff\x0a"
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_RGB, _XYB = 0, 2  # colour spaces
_ALPHA, _SPOT_COLOUR, _CFA = 0, 2, 5  # types of extra channels
_CUSTOM = 2  # white point or primaries that are given as coordinates


@dataclass(frozen=True)
class CodestreamHeader:
    """What a codestream states before its first frame.

    Attributes:
        width: in pixels, as stored.
        height: in pixels, as stored.
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
        if by_eight:
            return 8 * (1 + bits.u(5))
        return bits.u32((1, 9), (1, 13), (1, 18), (1, 30))

    height = side()
    ratio = bits.u(3)
    if ratio == 0:
        return side(), height
    numerator, denominator = _RATIOS[ratio]
    return height * numerator // denominator, height


def _preview(bits: _Bits) -> None:
    choices = (
        ((16, 0), (32, 0), (1, 5), (33, 9))
        if bits.u(1)
        else ((1, 6), (65, 8), (321, 10), (1345, 12))
    )
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
