"""AVIF and HEIF files without their damaged parts.

Properties: ISO/IEC 23008-12 section 6.5 and ISO/IEC 14496-12 section 12.1.
"""

from __future__ import annotations

import struct
from contextlib import suppress

from app.imaging.codecs.bmff import Box, associations, clean_aperture, locate_box, locate_boxes
from app.imaging.codecs.bmff_items import read_entries
from app.imaging.raster import FormatError

_METADATA = frozenset({b"Exif", b"mime"})
_IGNORED = b"skip"  # a type without meaning, which takes the place of a damaged part's
_ESSENTIAL = 0x80  # the first bit of an association
# Bytes that a property has at least. Libraries reject a file for one that is shorter.
_LEAST_BYTES = {b"irot": 1, b"imir": 1, b"pixi": 5, b"pasp": 8, b"clli": 4, b"mdcv": 24}
_LEAST_COLOUR_BYTES = {b"nclx": 11, b"nclc": 10, b"prof": 132, b"rICC": 132}


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
    """Return what to write where, so that no property is damaged, and nothing requires one."""
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
