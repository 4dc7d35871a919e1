"""The colours that an AV1 bitstream states, which containers without a colour property rely on.

Layout: AV1 Bitstream & Decoding Process Specification, sections 5.3 (OBUs) and 5.5 (sequence
headers).
"""

from __future__ import annotations

from app.imaging.raster import FormatError

UNSPECIFIED = (2, 2)  # primaries and transfer characteristics, ITU-T H.273
_SEQUENCE_HEADER = 1  # a type of OBU
_MAX_OBUS = 8  # before the sequence header, which usually comes first or second
_MAX_HEADER = 256  # bytes


class _Bits:
    """Reads fields from the most significant bit of the first byte on."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data)
        self._left = 8 * len(data)

    def f(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise FormatError("its sequence header is cut short")
        return self._value >> self._left & ((1 << count) - 1)

    def uvlc(self) -> int:
        zeros = 0
        while not self.f(1):
            zeros += 1
        return self.f(zeros)


def read_code_points(data: bytes) -> tuple[int, int]:
    """Return primaries and transfer characteristics that the first sequence header states.

    Raises:
        FormatError: a header is cut short.
    """
    for _ in range(_MAX_OBUS):
        if not data:
            break
        kind, has_extension, has_size = data[0] >> 3 & 15, data[0] & 4, data[0] & 2
        data = data[2 if has_extension else 1 :]
        size, data = _leb128(data) if has_size else (len(data), data)
        if kind == _SEQUENCE_HEADER:
            return _colours(_Bits(data[: min(size, _MAX_HEADER)]))
        data = data[size:]
    return UNSPECIFIED


def _leb128(data: bytes) -> tuple[int, bytes]:
    value = 0
    for index, byte in enumerate(data[:8]):
        value |= (byte & 127) << 7 * index
        if not byte & 128:
            return value, data[index + 1 :]
    raise FormatError("an OBU of it has no length")


def _colours(bits: _Bits) -> tuple[int, int]:
    profile = bits.f(3)
    bits.f(1)  # still_picture
    reduced = bits.f(1)
    if reduced:
        bits.f(5)  # seq_level_idx
    else:
        _operating_points(bits)
    sides = bits.f(4) + 1, bits.f(4) + 1
    bits.f(sum(sides))
    if not reduced and bits.f(1):  # frame_id_numbers_present_flag
        bits.f(7)
    bits.f(3)  # superblocks and intra filters
    if not reduced:
        _inter_tools(bits)
    bits.f(3)  # superres, cdef and restoration
    high_bit_depth = bits.f(1)
    if profile == 2 and high_bit_depth:
        bits.f(1)  # twelve_bit
    if profile != 1:
        bits.f(1)  # mono_chrome
    return (bits.f(8), bits.f(8)) if bits.f(1) else UNSPECIFIED


def _operating_points(bits: _Bits) -> None:
    delay_length = 0
    if bits.f(1):  # timing_info
        bits.f(64)
        if bits.f(1):
            bits.uvlc()
        if bits.f(1):  # decoder_model_info
            delay_length = bits.f(5) + 1
            bits.f(32 + 5 + 5)
    has_display_delay = bits.f(1)
    for _ in range(bits.f(5) + 1):
        bits.f(12)
        if bits.f(5) > 7:  # seq_level_idx
            bits.f(1)
        if delay_length and bits.f(1):
            bits.f(2 * delay_length + 1)
        if has_display_delay and bits.f(1):
            bits.f(4)


def _inter_tools(bits: _Bits) -> None:
    bits.f(4)
    has_order_hint = bits.f(1)
    if has_order_hint:
        bits.f(2)
    select = 2  # an encoder that decides for each frame
    screen_content = select if bits.f(1) else bits.f(1)
    if screen_content and not bits.f(1):
        bits.f(1)
    if has_order_hint:
        bits.f(3)
