"""The colours that AV1 and HEVC bitstreams state, for containers without a colour property.

Layouts: AV1 Bitstream & Decoding Process Specification, sections 5.3 (OBUs) and 5.5 (sequence
headers); ITU-T H.265, sections 7.3.2.2 (sequence parameter sets) and E.2.1 (video usability);
ISO/IEC 14496-15, section 8.3.3.1 (hvcC).
"""

from __future__ import annotations

from collections.abc import Iterator

from app.imaging.raster import FormatError

UNSPECIFIED = (2, 2)  # primaries and transfer characteristics, ITU-T H.273
_SEQUENCE_HEADER = 1  # a type of OBU
_MAX_OBUS = 8  # before the sequence header, which usually comes first or second
_MAX_HEADER = 256  # bytes
_SPS = 33  # a type of HEVC's units
_MAX_SPS = 4096  # bytes
_ARRAYS = 22  # the offset of their number in hvcC
_MAX_SETS = 64  # of reference pictures
_MAX_PICTURES = 16  # of a set
_EXPLICIT = 255  # an aspect ratio that is written out


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
        """Read an Exp-Golomb code, ue(v) of H.265."""
        zeros = 0
        while not self.f(1):
            zeros += 1
        return (1 << zeros) - 1 + self.f(zeros)

    def skip_uvlc(self, count: int) -> None:
        """Skip codes, which may be signed, se(v)."""
        for _ in range(count):
            self.uvlc()


def read_av1_colours(data: bytes) -> tuple[int, int]:
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
            return _av1_colours(_Bits(data[: min(size, _MAX_HEADER)]))
        data = data[size:]
    return UNSPECIFIED


def _leb128(data: bytes) -> tuple[int, bytes]:
    value = 0
    for index, byte in enumerate(data[:8]):
        value |= (byte & 127) << 7 * index
        if not byte & 128:
            return value, data[index + 1 :]
    raise FormatError("an OBU of it has no length")


def _av1_colours(bits: _Bits) -> tuple[int, int]:
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


def read_hevc_colours(configuration: bytes) -> tuple[int, int]:
    """Return primaries and transfer characteristics that an hvcC box states.

    Raises:
        FormatError: its sequence parameter set is cut short or damaged.
        IndexError: the box is cut short.
    """
    for unit in _hevc_units(configuration):
        if unit[0] >> 1 & 63 == _SPS:
            # A third zero byte would look like the start of a unit, so there is a 3 before it.
            payload = unit[2 : 2 + _MAX_SPS].replace(b"\0\0\3", b"\0\0")
            return _sps_colours(_Bits(payload))
    return UNSPECIFIED


def _hevc_units(configuration: bytes) -> Iterator[bytes]:
    position = _ARRAYS + 1
    for _ in range(configuration[_ARRAYS]):
        count = int.from_bytes(configuration[position + 1 : position + 3])
        position += 3
        for _ in range(count):
            start = position + 2
            position = start + int.from_bytes(configuration[position:start])
            yield configuration[start:position]


def _sps_colours(bits: _Bits) -> tuple[int, int]:
    bits.f(4)
    sub_layers = bits.f(3)  # without the first one
    bits.f(1)
    _profile_and_level(bits, sub_layers)
    bits.uvlc()  # its own number
    if bits.uvlc() == 3:  # chroma_format_idc
        bits.f(1)
    bits.skip_uvlc(2)  # width and height
    if bits.f(1):  # the conformance window
        bits.skip_uvlc(4)
    bits.skip_uvlc(2)  # bits of samples
    order_bits = bits.uvlc() + 4
    bits.skip_uvlc(3 * (sub_layers + 1 if bits.f(1) else 1))
    bits.skip_uvlc(6)  # sizes of blocks
    if bits.f(1) and bits.f(1):
        _scaling_lists(bits)
    bits.f(2)
    if bits.f(1):  # pcm
        bits.f(8)
        bits.skip_uvlc(2)
        bits.f(1)
    _reference_pictures(bits)
    if bits.f(1):  # long-term reference pictures
        for _ in range(min(bits.uvlc(), _MAX_SETS)):
            bits.f(order_bits + 1)
    bits.f(2)
    return _usability(bits) if bits.f(1) else UNSPECIFIED


def _profile_and_level(bits: _Bits, sub_layers: int) -> None:
    bits.f(88 + 8)
    present = [(bits.f(1), bits.f(1)) for _ in range(sub_layers)]
    if sub_layers:
        bits.f(2 * (8 - sub_layers))
    for has_profile, has_level in present:
        bits.f(88 * has_profile + 8 * has_level)


def _scaling_lists(bits: _Bits) -> None:
    for size in range(4):
        for _ in range(2 if size == 3 else 6):
            if not bits.f(1):
                bits.uvlc()
            else:
                bits.skip_uvlc(min(64, 1 << (4 + 2 * size)) + (size > 1))


def _reference_pictures(bits: _Bits) -> None:
    """Skip the sets of short-term reference pictures."""
    pictures = 0
    for index in range(min(bits.uvlc(), _MAX_SETS)):
        if index and bits.f(1):  # inferred from the set before it
            bits.f(1)
            bits.uvlc()
            used = [bits.f(1) or bits.f(1) for _ in range(pictures + 1)]
            pictures = sum(used)
        else:
            pictures = bits.uvlc() + bits.uvlc()
            for _ in range(min(pictures, _MAX_PICTURES)):
                bits.uvlc()
                bits.f(1)
        if pictures > _MAX_PICTURES:
            raise FormatError("it refers to too many pictures")


def _usability(bits: _Bits) -> tuple[int, int]:
    if bits.f(1) and bits.f(8) == _EXPLICIT:  # the aspect ratio
        bits.f(32)
    if bits.f(1):  # overscan
        bits.f(1)
    if not bits.f(1):  # video_signal_type_present_flag
        return UNSPECIFIED
    bits.f(4)
    return (bits.f(8), bits.f(8)) if bits.f(1) else UNSPECIFIED
