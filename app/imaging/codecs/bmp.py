"""BMP, read only: bit fields and runs by numpy, everything else by Pillow.

Headers: Microsoft, BITMAPV5HEADER; runs: "Bitmap Compression".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL.BmpImagePlugin import BmpImageFile

from app.errors import NotAnImage
from app.imaging.codecs.base import Codec
from app.imaging.raster import FormatError, Header, Raster, Samples, to_raster

_HEADER_SIZES = (12, 40, 52, 56, 64, 108, 124)
_CORE, _WITH_ALPHA, _OS2 = 12, 56, 64
_FILE_HEADER = 14  # bytes
_LONGEST_RUNS = 4  # bytes for a pixel and for each end of a line: what follows changes no pixel
_RGB, _RLE8, _RLE4, _BIT_FIELDS, _ALPHA_BIT_FIELDS = 0, 1, 2, 3, 6
_END_OF_LINE, _END_OF_IMAGE, _DELTA = 0, 1, 2


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


def _read_info(body: bytes) -> _Info:
    pixels, header = struct.unpack_from("<II", body, 10)
    if header == _CORE:
        width, height, _, bits = struct.unpack_from("<HHHH", body, 18)
        return _Info(pixels, header, width, height, False, bits, _RGB, 0)
    width, height, _, bits, compression, _, _, _, colours = struct.unpack_from(
        "<iiHHIIiiI", body, 18
    )
    return _Info(
        pixels, header, width, abs(height), height < 0, bits, compression, colours or 1 << bits % 32
    )


def read_header(body: bytes) -> Header:
    """Read the file and info headers.

    Raises:
        NotAnImage: its compression is not read here.
    """
    info = _read_info(body)
    if info.compression in (_BIT_FIELDS, _ALPHA_BIT_FIELDS) and info.header != _OS2:
        if info.bits not in (16, 32):
            raise FormatError(f"it has bit fields in {info.bits} bits")
        deep = max(mask.bit_count() for mask in _masks(body, info)) > 8
        return Header(info.width, info.height, channels=4, bits=16 if deep else 8)
    if info.compression in (_RLE8, _RLE4):
        if info.bits != (8 if info.compression == _RLE8 else 4):
            raise FormatError(f"it has runs of {info.bits} bits")
        return Header(info.width, info.height, channels=3)
    if info.compression != _RGB:
        raise NotAnImage(f"A BMP with compression {info.compression} is not supported.")
    image = BmpImageFile(BytesIO(body))
    return Header(width=image.width, height=image.height, channels=4)


def decode(body: bytes) -> Raster:
    """Decode; palettes are looked up, and bit fields of more than 8 bits become 16."""
    info = _read_info(body)
    if info.compression == _RGB:
        image = BmpImageFile(BytesIO(body))
        mode = {"1": "L", "P": "RGB"}.get(image.mode, image.mode)
        return to_raster(np.array(image.convert(mode)))
    runs = info.compression in (_RLE8, _RLE4)
    rows = _decode_runs(body, info) if runs else _decode_bit_fields(body, info)
    return to_raster(rows if info.top_down else np.ascontiguousarray(rows[::-1]))


def _masks(body: bytes, info: _Info) -> list[int]:
    """Return the masks of red, green, blue and, if there is one, alpha."""
    alpha = info.header >= _WITH_ALPHA or info.compression == _ALPHA_BIT_FIELDS
    masks = list(struct.unpack_from("<4I" if alpha else "<3I", body, _FILE_HEADER + 40))
    if 0 in masks[:3]:
        raise FormatError("a bit field of it is empty")
    return masks if masks[-1] else masks[:3]


def _decode_bit_fields(body: bytes, info: _Info) -> Samples:
    """Return (H, W, 3 | 4) in the order of the file."""
    word = info.bits // 8
    stride = -(-info.width * word // 4) * 4  # rows are padded to 4 bytes
    if len(body) < info.pixels + stride * info.height - (stride - info.width * word):
        raise FormatError("it is cut short")
    words: np.ndarray = np.ndarray(
        (info.height, info.width), f"<u{word}", body, info.pixels, (stride, word)
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
    """Return (H, W, 3) in the order of the file; what no run covers has colour 0."""
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
    start = _FILE_HEADER + info.header
    stored = body[start : min(start + 4 * min(info.palette_size, 256), info.pixels)]
    palette = np.zeros((256, 3), np.uint8)
    colours = np.frombuffer(stored[: len(stored) // 4 * 4], np.uint8).reshape(-1, 4)
    palette[: len(colours)] = colours[:, 2::-1]
    return palette


def matches(head: bytes) -> bool:
    """Tell a BMP by its signature and the size of its info header."""
    return head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _HEADER_SIZES


CODEC = Codec(
    name="bmp",
    media_type="image/bmp",
    suffixes=(".bmp",),
    matches=matches,
    read_header=read_header,
    decode=decode,
)
