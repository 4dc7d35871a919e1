"""BMP, read only, by numpy: palettes, bit fields and runs.

Headers: Microsoft, BITMAPV5HEADER; OS/2 2.0 headers may end after any field. Runs: "Bitmap
Compression".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from app.errors import NotAnImage
from app.imaging.codecs.base import ImageCodec
from app.imaging.raster import FormatError, Header, Raster, Samples, to_raster

_CORE, _SHORTEST, _LONGEST = 12, 16, 200  # bytes of info headers
_FULL, _WITH_ALPHA, _OS2, _WITH_PROFILE = 40, 56, 64, 124
_FILE_HEADER = 14  # bytes
_LONGEST_RUNS = 4  # bytes for a pixel and for each end of a line: further ones change no pixel
_RGB, _RLE8, _RLE4, _BIT_FIELDS, _ALPHA_BIT_FIELDS = 0, 1, 2, 3, 6
_END_OF_LINE, _END_OF_IMAGE, _DELTA = 0, 1, 2
_PALETTE_BITS, _BITS = (1, 2, 4, 8), (1, 2, 4, 8, 16, 24, 32)
_USUAL_MASKS = {16: [0x7C00, 0x3E0, 0x1F], 32: [0xFF0000, 0xFF00, 0xFF]}
_COLOUR_SPACE, _PROFILE, _EMBEDDED = 56, 112, b"DEBM"  # offsets in a BITMAPV5HEADER


@dataclass(frozen=True)
class _Info:
    """The file and info headers that matter here."""

    pixels: int  # offset in the file
    header: int  # bytes of the info header
    width: int
    height: int
    top_down: bool
    bits: int
    compression: int
    palette_size: int

    @property
    def has_fields(self) -> bool:
        """Whether the file has masks of its own."""
        return self.compression in (_BIT_FIELDS, _ALPHA_BIT_FIELDS)

    @property
    def has_runs(self) -> bool:
        return self.compression in (_RLE8, _RLE4)


def _read_info(body: bytes) -> _Info:
    pixels, header = struct.unpack_from("<II", body, 10)
    if header == _CORE:
        width, height, _, bits = struct.unpack_from("<HHHH", body, 18)
        entry, compression, colours = 3, _RGB, 0
    else:
        end = _FILE_HEADER + min(header, _FULL)
        if len(body) < end:
            raise FormatError("it is cut short")
        fields = body[18:end].ljust(_FULL - 4, b"\0")
        width, height, _, bits, compression, _, _, _, colours = struct.unpack_from(
            "<iiHHIIiiI", fields
        )
        entry = 4
    if bits not in _PALETTE_BITS:
        colours = 0
    elif not 0 < colours <= 1 << bits:
        colours = 1 << bits
    return _Info(
        pixels or _FILE_HEADER + header + entry * colours,
        header,
        width,
        abs(height),
        height < 0,
        bits,
        compression,
        colours,
    )


def read_header(body: bytes) -> Header:
    """Read the file and info headers.

    Raises:
        NotAnImage: its compression is not read here.
    """
    info = _read_info(body)
    _check_kind(info)
    if not (info.has_fields or info.bits in _USUAL_MASKS):
        return Header(info.width, info.height, channels=3, profile=_profile(body, info))
    masks = _masks(body, info)
    deep = max(mask.bit_count() for mask in masks) > 8
    return Header(
        info.width,
        info.height,
        channels=len(masks),
        bits=16 if deep else 8,
        profile=_profile(body, info),
    )


def _check_kind(info: _Info) -> None:
    of_os2 = info.header == _OS2  # where 3 and 4 are other compressions
    if info.compression not in (_RGB, _RLE8, _RLE4) and (not info.has_fields or of_os2):
        raise NotAnImage(f"A BMP with compression {info.compression} is not supported.")
    if info.has_fields and info.bits not in _USUAL_MASKS:
        raise FormatError(f"it has bit fields in {info.bits} bits")
    if info.has_runs and info.bits != (8 if info.compression == _RLE8 else 4):
        raise FormatError(f"it has runs of {info.bits} bits")
    if info.bits not in _BITS:
        raise NotAnImage(f"A BMP with {info.bits} bits a pixel is not supported.")


def _profile(body: bytes, info: _Info) -> bytes | None:
    """Return the ICC profile that a file of version 5 embeds."""
    header = body[_FILE_HEADER : _FILE_HEADER + info.header]
    if len(header) < _WITH_PROFILE or header[_COLOUR_SPACE:][:4] != _EMBEDDED:
        return None
    offset, size = struct.unpack_from("<II", header, _PROFILE)
    return body[_FILE_HEADER + offset :][:size] or None


def decode(body: bytes) -> Raster:
    """Decode; palettes are looked up, and bit fields of more than 8 bits become 16."""
    info = _read_info(body)
    if info.has_runs:
        rows = _decode_runs(body, info)
    elif info.bits == 24:
        rows = _stored_rows(body, info).reshape(info.height, info.width, 3)[..., ::-1]
    elif info.bits in _PALETTE_BITS:
        rows = _palette(body, info)[_unpack(_stored_rows(body, info), info)]
    else:
        rows = _decode_bit_fields(body, info)
    return to_raster(rows if info.top_down else np.ascontiguousarray(rows[::-1]))


def _stored_rows(body: bytes, info: _Info) -> np.ndarray:
    """Return the bytes of each row, (H, bytes) uint8, in the order of the file.

    Raises:
        FormatError: there are not enough.
    """
    used = (info.width * info.bits + 7) // 8
    stride = (used + 3) // 4 * 4  # rows are padded to 4 bytes
    if len(body) < info.pixels + stride * info.height - (stride - used):
        raise FormatError("it is cut short")
    return np.ndarray((info.height, used), np.uint8, body, info.pixels, (stride, 1))


def _unpack(rows: np.ndarray, info: _Info) -> np.ndarray:
    """Return the index of each pixel, (H, W) uint8."""
    if info.bits == 8:
        return rows
    bits = np.unpackbits(rows, axis=1)[:, : info.width * info.bits]
    fields = np.packbits(bits.reshape(info.height, info.width, info.bits), axis=2)
    return fields[..., 0] >> (8 - info.bits)


def _masks(body: bytes, info: _Info) -> list[int]:
    """Return the masks of red, green, blue and, if there is one, alpha."""
    if not info.has_fields:
        return _USUAL_MASKS[info.bits]
    alpha = info.header >= _WITH_ALPHA or info.compression == _ALPHA_BIT_FIELDS
    masks = list(struct.unpack_from("<4I" if alpha else "<3I", body, _FILE_HEADER + 40))
    if 0 in masks[:3]:
        raise FormatError("a bit field of it is empty")
    return masks if masks[-1] else masks[:3]


def _decode_bit_fields(body: bytes, info: _Info) -> Samples:
    """Return (H, W, 3 | 4) in the order of the file."""
    rows = _stored_rows(body, info)
    words: np.ndarray = np.ndarray(
        (info.height, info.width),
        f"<u{info.bits // 8}",
        body,
        info.pixels,
        (rows.strides[0], info.bits // 8),
    )
    masks = _masks(body, info)
    full = 65535 if max(mask.bit_count() for mask in masks) > 8 else 255
    samples = np.empty((info.height, info.width, len(masks)), np.uint16 if full > 255 else np.uint8)
    for channel, mask in enumerate(masks):
        shift = (mask & -mask).bit_length() - 1
        largest = mask >> shift
        for row in range(info.height):
            values = (words[row] & mask).astype(np.uint64) >> np.uint64(shift)
            samples[row, :, channel] = (values * full + largest // 2) // largest
    return samples


def _decode_runs(body: bytes, info: _Info) -> Samples:
    """Return (H, W, 3) in the order of the file; pixels that no run covers have colour 0."""
    indices = np.zeros((info.height, info.width), np.uint8)
    nibbles = info.compression == _RLE4
    x = y = 0
    position = info.pixels
    end = min(len(body), position + _LONGEST_RUNS * (info.width + 2) * info.height)
    while y < info.height and position + 2 <= end:
        count, value = body[position : position + 2]
        position += 2
        if count:
            run = [value >> 4, value & 15] * (count // 2 + 1) if nibbles else [value] * count
            x = _put(indices, y, x, run[:count])
        elif value == _END_OF_LINE:
            x, y = 0, y + 1
        elif value == _END_OF_IMAGE:
            break
        elif value == _DELTA:
            if position + 2 > len(body):
                break
            x, y = x + body[position], y + body[position + 1]
            position += 2
        else:
            size = (value + 1) // 2 if nibbles else value
            literal = body[position : position + size]
            pixels = [half for byte in literal for half in (byte >> 4, byte & 15)]
            x = _put(indices, y, x, pixels[:value] if nibbles else list(literal))
            position += size + size % 2  # padded to 2 bytes
    return _palette(body, info)[indices]


def _put(indices: np.ndarray, y: int, x: int, values: list[int]) -> int:
    room = max(0, indices.shape[1] - x)
    indices[y, x : x + min(room, len(values))] = values[:room]
    return x + len(values)


def _palette(body: bytes, info: _Info) -> Samples:
    """Return (256, 3) RGB; colours that are not in the file are black."""
    start, entry = _FILE_HEADER + info.header, 3 if info.header == _CORE else 4
    stored = body[start : min(start + entry * info.palette_size, info.pixels)]
    palette = np.zeros((256, 3), np.uint8)
    colours = np.frombuffer(stored[: len(stored) // entry * entry], np.uint8).reshape(-1, entry)
    palette[: len(colours)] = colours[:, 2::-1]
    return palette


def matches(head: bytes) -> bool:
    """Detect a BMP by its signature and the size of its info header."""
    header = int.from_bytes(head[14:18], "little")
    return head.startswith(b"BM") and (header == _CORE or _SHORTEST <= header <= _LONGEST)


CODEC = ImageCodec(
    name="bmp",
    media_type="image/bmp",
    suffixes=(".bmp",),
    matches=matches,
    read_header=read_header,
    decode=decode,
)
