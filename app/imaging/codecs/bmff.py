"""Boxes of the ISO base media file format, ISO/IEC 14496-12: AVIF, HEIF and JPEG XL."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction

import numpy as np

from app.imaging.raster import Crop, FormatError

Properties = Sequence[tuple[bytes, bytes]]  # type and payload, in the order of their use

_MAX_PIXEL_ASPECT = 4  # beyond is damage; 2.4 is that of anamorphic video
# What becomes of the corners 0 1 / 2 3.
_ORIENTATIONS = {
    (0, 1, 2, 3): 1,
    (1, 0, 3, 2): 2,
    (3, 2, 1, 0): 3,
    (2, 3, 0, 1): 4,
    (0, 2, 1, 3): 5,
    (2, 0, 3, 1): 6,
    (3, 1, 2, 0): 7,
    (1, 3, 0, 2): 8,
}


def read_boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and payload of each box of an ISO base media file, ISO/IEC 14496-12."""
    position = 0
    while position + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        if size < 8:  # to the end of the file, or longer than 4 GB: only mdat is like that
            return
        yield kind, data[position + 8 : position + size]
        position += size


def find_box(data: bytes, wanted: bytes) -> bytes:
    """Return the payload of the first box of a type.

    Raises:
        FormatError: there is none.
    """
    for kind, payload in read_boxes(data):
        if kind == wanted:
            return payload
    raise FormatError(f"it has no {wanted.decode('ascii')} box")


def primary_properties(body: bytes) -> Properties:
    """Return the properties of the primary item, ISO/IEC 23008-12 section 9.3.

    None of a container that is damaged.
    """
    with suppress(FormatError, IndexError, struct.error):
        return _primary_properties(body)
    return ()


def _primary_properties(body: bytes) -> Properties:
    meta = find_box(body, b"meta")[4:]  # a full box: version and flags
    primary = find_box(meta, b"pitm")
    (item,) = struct.unpack_from(">H" if primary[0] == 0 else ">I", primary, 4)
    containers = find_box(meta, b"iprp")
    properties = list(read_boxes(find_box(containers, b"ipco")))
    for kind, payload in read_boxes(containers):
        if kind == b"ipma":
            indices = _associations(payload).get(item, [])
            return [properties[index - 1] for index in indices if 0 < index <= len(properties)]
    return []


def _associations(ipma: bytes) -> dict[int, list[int]]:
    """Return the indices of the properties of each item, counted from 1."""
    item_code, item_size = (">I", 4) if ipma[0] else (">H", 2)
    index_code, index_size, mask = (">H", 2, 0x7FFF) if ipma[3] & 1 else (">B", 1, 0x7F)
    (items,), position = struct.unpack_from(">I", ipma, 4), 8
    found: dict[int, list[int]] = {}
    for _ in range(items):
        (item,) = struct.unpack_from(item_code, ipma, position)
        count = ipma[position + item_size]
        position += item_size + 1
        found[item] = [
            struct.unpack_from(index_code, ipma, position + index_size * i)[0] & mask
            for i in range(count)
        ]
        position += index_size * count
    return found


def clean_aperture(clap: bytes, width: int, height: int) -> Crop | None:
    """Return the part of an image that a clap box shows, ISO/IEC 14496-12 section 12.1.4.

    None for all of it, and where the box is damaged or asks for more.
    """
    values = struct.unpack(">8i", clap[:32].ljust(32, b"\0"))
    if 0 in values[1::2]:
        return None
    across, down, right, below = (
        Fraction(n, d) for n, d in zip(values[::2], values[1::2], strict=True)
    )
    crop = Crop(
        left=round(right + (width - across) / 2),
        top=round(below + (height - down) / 2),
        width=round(across),
        height=round(down),
    )
    inside = 0 <= crop.left <= width - crop.width and 0 <= crop.top <= height - crop.height
    return crop if inside and crop.width > 0 and crop.height > 0 else None


def read_orientation(properties: Properties) -> int:
    """Return the EXIF orientation that rotations (irot) and mirrorings (imir) amount to."""
    corners = np.arange(4).reshape(2, 2)
    for kind, payload in properties:
        if kind == b"irot" and payload:
            corners = np.rot90(corners, payload[0] & 3)
        elif kind == b"imir" and payload:
            corners = np.flip(corners, payload[0] & 1)
    a, b, c, d = corners.ravel().tolist()
    return _ORIENTATIONS[a, b, c, d]


def read_pixel_aspect(properties: Properties) -> float | None:
    """Return the width of a pixel by its height (pasp), None for square ones and damage."""
    pasp = dict(properties).get(b"pasp", b"")
    if len(pasp) < 8:
        return None
    across, down = struct.unpack_from(">II", pasp)
    longer, shorter = max(across, down), min(across, down)
    if across == down or longer > _MAX_PIXEL_ASPECT * shorter:
        return None
    return float(across / down)


def ftyp_brands(head: bytes) -> set[bytes]:
    """Return the major and the compatible brands of an ISO base media file, ISO/IEC 14496-12."""
    if head[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(head[:4], "big"), 256)
    return {head[i : i + 4] for i in (8, *range(16, end, 4))}  # between the two: a version
