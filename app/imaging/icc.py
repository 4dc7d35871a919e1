"""ICC profiles as Little CMS receives them: with the tags alone whose cost is bounded.

Layout: ICC.1:2022, sections 7.2 and 7.3 (header and tag table), 10.10 to 10.12 (tables).
"""

from __future__ import annotations

import struct
from math import prod

_HEADER = 128  # bytes
_TABLE = _HEADER + 4  # where the entries of the tag table begin, behind their number
_ENTRY = struct.Struct(">4sII")  # signature, offset and size of a tag
_MAX_TAGS = 100  # Little CMS reads no more
_TABLES = frozenset({b"A2B0", b"A2B1", b"A2B2", b"B2A0", b"B2A1", b"B2A2"})
# Multi-process elements (D2B0 and others) are missing: a table of a few kilobytes may hold hundreds
# of thousands of them, each of which costs time for every pixel.
_USED = _TABLES | frozenset(
    {b"wtpt", b"bkpt", b"chad", b"kTRC", b"rTRC", b"gTRC", b"bTRC", b"rXYZ", b"gXYZ", b"bXYZ"}
)


def reduce_profile(profile: bytes) -> bytes:
    """Return a profile without the tags that colour conversion does not need, or cannot hold.

    Matrices, curves and tables (A2B and B2A) stay, unless a table has more entries than bytes.
    """
    if len(profile) < _TABLE:
        return profile
    (count,) = struct.unpack_from(">I", profile, _HEADER)
    entries = profile[_TABLE : _TABLE + _ENTRY.size * min(count, _MAX_TAGS)]
    entries = entries[: len(entries) // _ENTRY.size * _ENTRY.size]
    kept = [
        entry
        for entry in _ENTRY.iter_unpack(entries)
        if entry[0] in _USED
        and (entry[0] not in _TABLES or _fits(profile[entry[1] : entry[1] + entry[2]]))
    ]
    table = b"".join(_ENTRY.pack(*entry) for entry in kept).ljust(len(entries), b"\0")
    number = struct.pack(">I", len(kept))
    return profile[:_HEADER] + number + table + profile[_TABLE + len(entries) :]


def _fits(tag: bytes) -> bool:
    """Tell whether a table, of type lut8, lut16, lutAToB or lutBToA, is as large as it states."""
    if len(tag) < 32:
        return False
    kind, inputs, outputs, grid = tag[:4], tag[8], tag[9], tag[10]
    if kind in (b"mft1", b"mft2"):
        return bool(grid**inputs * outputs * (1 if kind == b"mft1" else 2) <= len(tag))
    if kind not in (b"mAB ", b"mBA "):
        return False
    (offset,) = struct.unpack_from(">I", tag, 24)
    if offset == 0:  # it has curves and matrices alone
        return True
    grids, width = tag[offset : offset + inputs], tag[offset + 16 : offset + 17]
    return (
        len(grids) == inputs
        and width in (b"\1", b"\2")
        and (prod(grids) * outputs * width[0] <= len(tag))
    )
