"""Boxes of the ISO base media file format: of AVIF, HEIF and JPEG XL files.

Boxes: ISO/IEC 14496-12. Properties of images: ISO/IEC 23008-12 section 6.5.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from app.imaging.raster import Crop, FormatError

Properties = Sequence[tuple[bytes, bytes]]  # type and payload, in the order of their use

_MAX_BOXES = 1 << 15  # of a file; a large grid has some hundreds
_MAX_TABLE = 1 << 19  # bytes of a table of items: 30,000 items and more
# Where the boxes within a box begin in its payload.
_CONTAINERS = {b"meta": 4, b"iprp": 0, b"ipco": 0, b"iref": 4, b"moov": 0, b"trak": 0}
_TABLES = frozenset({b"iloc", b"ipma"})
_MAX_PIXEL_ASPECT = 4  # beyond is damage; 2.4 is that of anamorphic video
# Where the corners 0 1 / 2 3 are moved.
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
_METADATA = frozenset({b"Exif", b"mime"})
_IGNORED = b"skip"  # a type without meaning, which takes the place of a damaged part's
_ESSENTIAL = 0x80  # the first bit of an association
# Bytes that a property has at least. Libraries reject a file for one that is shorter.
_LEAST_BYTES = {b"irot": 1, b"imir": 1, b"pixi": 5, b"pasp": 8, b"clli": 4, b"mdcv": 24}
_LEAST_COLOUR_BYTES = {b"nclx": 11, b"nclc": 10, b"prof": 132, b"rICC": 132}


class Box(NamedTuple):
    """A box: its type, and where in the file its payload starts and ends."""

    kind: bytes
    start: int
    end: int


class Association(NamedTuple):
    """That an item has a property: whose number, from 1, stands at a place in the file."""

    item: int
    number: int
    place: int


class Entry(NamedTuple):
    """An item: its ID, its type, the position of the type in the file, and the bytes after it."""

    item: int
    kind: bytes
    place: int
    rest: bytes


def locate_boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """Yield each box of an ISO base media file, ISO/IEC 14496-12, between two offsets."""
    position, end = start, len(data) if end is None else end
    while position + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, position)
        header = 8
        if size == 0:  # to the end
            size = end - position
        elif size == 1 and position + 16 <= end:
            (size,) = struct.unpack_from(">Q", data, position + 8)
            header = 16
        if size < header:
            return
        yield Box(kind, position + header, min(position + size, end))
        position += size


def check_boxes(body: bytes) -> None:
    """Check that a file has no more boxes, and no larger tables, than images need.

    Here and in the libraries, each box costs time however small it is.

    Raises:
        FormatError: it has.
    """
    left, count = [(0, len(body))], 0
    while left:
        for kind, start, end in locate_boxes(body, *left.pop()):
            count += 1
            if count > _MAX_BOXES or (kind in _TABLES and end - start > _MAX_TABLE):
                raise FormatError("it has more boxes or items than images need")
            if kind in _CONTAINERS:
                left.append((start + _CONTAINERS[kind], end))
            elif kind == b"iinf" and start < end:
                left.append((start + (8 if body[start] else 6), end))


def read_boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and payload of each box."""
    for kind, start, end in locate_boxes(data):
        yield kind, data[start:end]


def locate_box(data: bytes, wanted: bytes, start: int = 0, end: int | None = None) -> Box:
    """Return the first box of a type between two offsets.

    Raises:
        FormatError: there is none.
    """
    for box in locate_boxes(data, start, end):
        if box.kind == wanted:
            return box
    raise FormatError(f"it has no {wanted.decode('ascii')} box")


def find_box(data: bytes, wanted: bytes) -> bytes:
    """Return the payload of the first box of a type.

    Raises:
        FormatError: there is none.
    """
    box = locate_box(data, wanted)
    return data[box.start : box.end]


def primary_properties(body: bytes) -> Properties:
    """Return the properties of the primary item, ISO/IEC 23008-12 section 9.3.

    None of a container that is damaged.
    """
    with suppress(FormatError, IndexError, struct.error):
        meta = find_box(body, b"meta")[4:]  # a full box: version and flags
        return item_properties(meta, primary_item(meta))
    return ()


def item_properties(meta: bytes, item: int) -> Properties:
    """Return the properties of an item, from the payload of a meta box after its version."""
    containers = find_box(meta, b"iprp")
    properties = list(read_boxes(find_box(containers, b"ipco")))
    return [
        properties[it.number - 1]
        for it in associations(containers, locate_box(containers, b"ipma"))
        if it.item == item and 0 < it.number <= len(properties)
    ]


def primary_item(meta: bytes) -> int:
    """Return the ID of the primary item, from the payload of a meta box after its version."""
    primary = find_box(meta, b"pitm")
    return int(struct.unpack_from(">H" if primary[0] == 0 else ">I", primary, 4)[0])


def associations(data: bytes, ipma: Box) -> Iterator[Association]:
    """Yield the associations of items with properties, in the order of the file."""
    item_size = 4 if data[ipma.start] else 2
    index_size = 2 if data[ipma.start + 3] & 1 else 1
    essential = 1 << (8 * index_size - 1)  # the bit: whether readers must support it
    (items,) = struct.unpack_from(">I", data, ipma.start + 4)
    position = ipma.start + 8
    for _ in range(items):
        if position >= ipma.end:
            return
        item = int.from_bytes(data[position : position + item_size])
        first = position + item_size + 1
        position = first + index_size * data[first - 1]
        for place in range(first, min(position, ipma.end), index_size):
            number = int.from_bytes(data[place : place + index_size])
            yield Association(item, number & ~essential, place)


def read_entries(data: bytes, iinf: Box) -> Iterator[Entry]:
    """Yield the entries of an iinf box."""
    first = iinf.start + (8 if data[iinf.start] else 6)
    for kind, start, end in locate_boxes(data, first, iinf.end):
        if kind == b"infe" and data[start] >= 2:
            size = 2 if data[start] == 2 else 4
            item = int.from_bytes(data[start + 4 : start + 4 + size])
            place = start + 6 + size  # between the two: the index of its protection
            yield Entry(item, data[place : place + 4], place, data[place + 4 : end])


def clean_aperture(clap: bytes, width: int, height: int) -> Crop | None:
    """Return the part of an image that a clap box shows, ISO/IEC 14496-12 section 12.1.4.

    None for all of it, and where the box is damaged or requires more.
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


def repair(body: bytes) -> bytes:
    """Return a file without metadata, and without properties that are damaged.

    Libraries reject files for both. Types are overwritten, so that nothing moves.
    """
    edits: dict[int, bytes] = {}
    with suppress(FormatError, IndexError, struct.error):
        meta = locate_box(body, b"meta")
        start = meta.start + 4  # a full box: version and flags
        items = read_entries(body, locate_box(body, b"iinf", start, meta.end))
        edits |= {it.place: _IGNORED for it in items if it.kind in _METADATA}
        edits |= _hide_properties(body, locate_box(body, b"iprp", start, meta.end))
    if not edits:
        return body
    edited = bytearray(body)
    for place, new in edits.items():
        edited[place : place + len(new)] = new
    return bytes(edited)


def _hide_properties(body: bytes, iprp: Box) -> dict[int, bytes]:
    """Return bytes to write by their position, so that no property is damaged or required."""
    ipco = locate_box(body, b"ipco", iprp.start, iprp.end)
    properties = list(locate_boxes(body, ipco.start, ipco.end))
    sizes = [
        struct.unpack_from(">II", body, it.start + 4)
        for it in properties
        if it.kind == b"ispe" and it.end >= it.start + 12
    ]
    damaged = [
        _is_damaged(it.kind, body[it.start : it.end], max(sizes, default=(0, 0)))
        for it in properties
    ]
    edits = {it.start - 4: _IGNORED for it, bad in zip(properties, damaged, strict=True) if bad}
    if edits:
        for box in locate_boxes(body, iprp.start, iprp.end):
            for it in associations(body, box) if box.kind == b"ipma" else ():
                if 0 < it.number <= len(damaged) and damaged[it.number - 1]:
                    edits[it.place] = bytes((body[it.place] & ~_ESSENTIAL,))
    return edits


def _is_damaged(kind: bytes, payload: bytes, largest: tuple[int, int]) -> bool:
    """Return whether a property is too short, or shows more than the largest image has."""
    if kind == b"colr":
        return len(payload) < _LEAST_COLOUR_BYTES.get(payload[:4], len(payload) + 1)
    if kind == b"clap":
        return clean_aperture(payload, *largest) is None
    return len(payload) < _LEAST_BYTES.get(kind, 0)
