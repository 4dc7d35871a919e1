"""Small HEIC files: images coded by x265 in a container that this module writes.

No installed library writes HEIC. Box layouts: ISO/IEC 14496-12 and 23008-12.
"""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

DISPLAY_P3 = struct.pack(">4sHHHB", b"nclx", 12, 13, 6, 0x80)

_PARAMETER_SETS = (32, 33, 34)  # VPS, SPS, PPS
_X265 = "log-level=none:qp=4:range=full:colormatrix=smpte170m:info=0:repeat-headers=1"


def heic(
    pictures: list[NDArray[np.uint8]],
    *,
    colour: bytes = b"",
    rotation: int = 0,
    exif: bytes = b"",
    bits: int = 8,
    primary: int = 0,
) -> bytes:
    """Make a HEIC of images (H, W, 3) of equal size, each a top-level item.

    Args:
        pictures: RGB.
        colour: the payload of a `colr` box.
        rotation: quarter turns anticlockwise that a reader must apply (`irot`).
        exif: an EXIF block.
        bits: 8 or 10 per sample.
        primary: the index of the primary item.
    """
    height, width = pictures[0].shape[:2]
    coded = [_hevc(picture, bits) for picture in pictures]
    properties = [
        _box(b"hvcC", coded[0][0]),
        _full_box(b"ispe", struct.pack(">II", width, height)),
        _full_box(b"pixi", bytes((3, bits, bits, bits))),
        _box(b"irot", bytes((rotation,))),
    ]
    if colour:
        properties.append(_box(b"colr", colour))
    items = [data for _, data in coded]
    if exif:
        items.append(bytes(4) + exif.removeprefix(b"Exif\0\0"))
    return _container(items, properties, len(pictures), primary)


def _container(items: list[bytes], properties: list[bytes], pictures: int, primary: int) -> bytes:
    kinds = [b"hvc1" if i < pictures else b"Exif" for i in range(len(items))]
    infos = b"".join(
        _full_box(b"infe", struct.pack(">HH4sx", i + 1, 0, kind), version=2)
        for i, kind in enumerate(kinds)
    )
    associations = b"".join(
        struct.pack(">HB", i + 1, len(properties)) + bytes(range(1, len(properties) + 1))
        for i in range(pictures)
    )
    reference = _box(b"cdsc", struct.pack(">HHH", len(items), 1, primary + 1))

    def meta(start: int) -> bytes:
        places, position = b"", start
        for i, item in enumerate(items):
            places += struct.pack(">HHHII", i + 1, 0, 1, position, len(item))
            position += len(item)
        boxes = (
            _full_box(b"hdlr", struct.pack(">I4s12xx", 0, b"pict")),
            _full_box(b"pitm", struct.pack(">H", primary + 1)),
            _full_box(b"iinf", struct.pack(">H", len(items)) + infos),
            _full_box(b"iref", reference) if len(items) > pictures else b"",
            _box(
                b"iprp",
                _box(b"ipco", b"".join(properties))
                + _full_box(b"ipma", struct.pack(">I", pictures) + associations),
            ),
            _full_box(b"iloc", struct.pack(">BBH", 0x44, 0, len(items)) + places),
        )
        return _full_box(b"meta", b"".join(boxes))

    ftyp = _box(b"ftyp", b"heic" + bytes(4) + b"mif1heic")
    start = len(ftyp) + len(meta(0)) + 8
    return ftyp + meta(start) + _box(b"mdat", b"".join(items))


def _hevc(picture: NDArray[np.uint8], bits: int) -> tuple[bytes, bytes]:
    """Return the decoder configuration record and the coded image, 4:4:4, full range BT.601."""
    encoder = av.CodecContext.create("libx265", "w")
    encoder.height, encoder.width = picture.shape[:2]
    encoder.pix_fmt = "yuv444p" if bits == 8 else "yuv444p10le"
    encoder.time_base = Fraction(1)
    encoder.options = {"x265-params": _X265}
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
        format=encoder.pix_fmt, dst_colorspace="ITU601", dst_color_range="JPEG"
    )
    frame.pts = 0
    stream = b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))
    units = [unit.rstrip(b"\0") for unit in stream.split(b"\0\0\1") if unit.strip(b"\0")]
    parameters = [unit for unit in units if _unit_type(unit) in _PARAMETER_SETS]
    slices = [unit for unit in units if _unit_type(unit) < _PARAMETER_SETS[0]]
    return (
        _configuration(parameters, bits),
        b"".join(struct.pack(">I", len(unit)) + unit for unit in slices),
    )


def _configuration(parameters: list[bytes], bits: int) -> bytes:
    sequence = next(unit for unit in parameters if _unit_type(unit) == _PARAMETER_SETS[1])
    profile = sequence.replace(b"\0\0\3", b"\0\0")[3:15]  # without emulation prevention
    fixed = struct.pack(">HBBBBHBB", 0xF000, 0xFC, 0xFF, 0xF0 + bits, 0xF0 + bits, 0, 0x0F, 3)
    arrays = (struct.pack(">BHH", _unit_type(it), 1, len(it)) + it for it in parameters)
    return b"\1" + profile + fixed + b"".join(arrays)


def _unit_type(unit: bytes) -> int:
    return unit[0] >> 1 & 0x3F


def _box(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(payload), kind) + payload


def _full_box(kind: bytes, payload: bytes, version: int = 0) -> bytes:
    return _box(kind, bytes((version, 0, 0, 0)) + payload)
