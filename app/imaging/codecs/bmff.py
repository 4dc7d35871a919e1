"""Boxes of the ISO base media file format, ISO/IEC 14496-12: AVIF, HEIF and JPEG XL."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from app.imaging.raster import FormatError


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


def ftyp_brands(head: bytes) -> set[bytes]:
    """Return the major and the compatible brands of an ISO base media file, ISO/IEC 14496-12."""
    if head[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(head[:4], "big"), 256)
    return {head[i : i + 4] for i in (8, *range(16, end, 4))}  # between the two: a version
