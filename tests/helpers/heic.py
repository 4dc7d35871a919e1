"""Small HEIC files: images coded by x265 in a container that this module writes.

No installed library writes HEIC. Box layouts: ISO/IEC 14496-12 and 23008-12.
"""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from tests.helpers.heif_container import Item, box, container, full_box, rotated, size_of

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
    coding: str = "",
) -> bytes:
    """Make a HEIC of images (H, W, 3) of equal size, each a top-level item.

    Args:
        pictures: RGB.
        colour: the payload of a `colr` box.
        rotation: quarter turns anticlockwise that a reader must apply (`irot`).
        exif: an EXIF block.
        bits: 8 or 10 per sample.
        primary: the index of the primary item.
        coding: further parameters of x265.
    """
    properties = [rotated(rotation)] + ([box(b"colr", colour)] if colour else [])
    items = [heic_item(picture, *properties, bits=bits, coding=coding) for picture in pictures]
    if exif:
        block = bytes(4) + exif.removeprefix(b"Exif\0\0")
        items.append(Item(b"Exif", block, references=[(b"cdsc", [primary])]))
    return container(b"heic", items, primary)


def heic_item(
    picture: NDArray[np.uint8],
    *properties: bytes,
    bits: int = 8,
    coding: str = "",
    **rest: object,
) -> Item:
    """Return the coded item of an (H, W, 3) picture, and further properties."""
    configuration, data = _hevc(picture, bits, coding)
    own = (
        box(b"hvcC", configuration),
        size_of(picture.shape[1], picture.shape[0]),
        full_box(b"pixi", bytes((3, bits, bits, bits))),
    )
    return Item(b"hvc1", data, [*own, *properties], **rest)  # type: ignore[arg-type]


def _hevc(picture: NDArray[np.uint8], bits: int, coding: str) -> tuple[bytes, bytes]:
    """Return the decoder configuration record and the coded image, 4:4:4, full range BT.601."""
    encoder = av.CodecContext.create("libx265", "w")
    encoder.height, encoder.width = picture.shape[:2]
    encoder.pix_fmt = "yuv444p" if bits == 8 else "yuv444p10le"
    encoder.time_base = Fraction(1)
    encoder.options = {"x265-params": _X265 + coding}
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
