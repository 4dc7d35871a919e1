"""HEIF containers, written item by item: HEIC and AVIF with grids, alpha and transformations.

Box layouts: ISO/IEC 14496-12 and 23008-12.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import imagecodecs
import numpy as np
from numpy.typing import NDArray

_ESSENTIAL = (b"clap", b"irot", b"imir", b"av1C", b"hvcC")  # readers must support these
ALPHA = "urn:mpeg:mpegB:cicp:systems:auxiliary:alpha"


@dataclass(frozen=True)
class Item:
    """An item of a container.

    Attributes:
        kind: its type, such as b"hvc1", b"av01", b"grid" or b"Exif".
        data: its bytes.
        properties: whole boxes, in the order in which they are applied.
        references: type, and the positions of the items that are referred to.
        hidden: whether it is no image of its own.
        rest: what follows the type in its entry, such as the content type of XMP.
    """

    kind: bytes
    data: bytes
    properties: Sequence[bytes] = ()
    references: Sequence[tuple[bytes, Sequence[int]]] = field(default=())
    hidden: bool = False
    rest: bytes = b"\0"


def box(kind: bytes, payload: bytes) -> bytes:
    """Return a box."""
    return struct.pack(">I4s", 8 + len(payload), kind) + payload


def full_box(kind: bytes, payload: bytes, version: int = 0, flags: int = 0) -> bytes:
    """Return a box with version and flags."""
    return box(kind, struct.pack(">B", version) + flags.to_bytes(3) + payload)


def size_of(width: int, height: int) -> bytes:
    """Return the property `ispe`."""
    return full_box(b"ispe", struct.pack(">II", width, height))


def rotated(quarters: int) -> bytes:
    """Return the property `irot`: quarter turns anticlockwise."""
    return box(b"irot", bytes((quarters,)))


def mirrored(axis: int) -> bytes:
    """Return the property `imir`: 0 exchanges top and bottom, 1 left and right."""
    return box(b"imir", bytes((axis,)))


def pixel_aspect(across: int, down: int) -> bytes:
    """Return the property `pasp`: width and height of a pixel."""
    return box(b"pasp", struct.pack(">II", across, down))


def auxiliary(kind: str) -> bytes:
    """Return the property `auxC`."""
    return full_box(b"auxC", kind.encode() + b"\0")


def grid(rows: int, columns: int, width: int, height: int) -> bytes:
    """Return the data of a grid item, ISO/IEC 23008-12 section 6.6.2.3.2."""
    return struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)


def container(brand: bytes, items: Sequence[Item], primary: int = 0) -> bytes:
    """Return a file of items, which refer to each other by their position."""
    infos = b"".join(
        full_box(
            b"infe",
            struct.pack(">HH4s", i, 0, it.kind) + it.rest,
            version=2,
            flags=int(it.hidden),
        )
        for i, it in enumerate(items, 1)
    )
    properties = list(dict.fromkeys(it for item in items for it in item.properties))
    associations = b"".join(
        struct.pack(">HB", i, len(it.properties))
        + bytes(properties.index(p) + 1 | 0x80 * (p[4:8] in _ESSENTIAL) for p in it.properties)
        for i, it in enumerate(items, 1)
    )
    references = b"".join(
        box(kind, struct.pack(f">HH{len(to)}H", i, len(to), *(it + 1 for it in to)))
        for i, item in enumerate(items, 1)
        for kind, to in item.references
    )

    def meta(start: int) -> bytes:
        places, position = b"", start
        for i, item in enumerate(items, 1):
            places += struct.pack(">HHHII", i, 0, 1, position, len(item.data))
            position += len(item.data)
        boxes = (
            full_box(b"hdlr", struct.pack(">I4s12xx", 0, b"pict")),
            full_box(b"pitm", struct.pack(">H", primary + 1)),
            full_box(b"iinf", struct.pack(">H", len(items)) + infos),
            full_box(b"iref", references) if references else b"",
            box(
                b"iprp",
                box(b"ipco", b"".join(properties))
                + full_box(b"ipma", struct.pack(">I", len(items)) + associations),
            ),
            full_box(b"iloc", struct.pack(">BBH", 0x44, 0, len(items)) + places),
        )
        return full_box(b"meta", b"".join(boxes))

    ftyp = box(b"ftyp", brand + bytes(4) + b"mif1miaf" + brand)
    start = len(ftyp) + len(meta(0)) + 8
    return ftyp + meta(start) + box(b"mdat", b"".join(item.data for item in items))


def avif_item(samples: NDArray[np.unsignedinteger], *properties: bytes, **rest: object) -> Item:
    """Return the coded item of (H, W[, 3]) samples, and further properties."""
    coded = imagecodecs.avif_encode(samples, level=100)
    meta = _find(coded, b"meta")[4:]
    own = [
        box(kind, payload)
        for kind, payload in _boxes(_find(_find(meta, b"iprp"), b"ipco"))
        if kind in (b"ispe", b"pixi", b"av1C", b"colr")
    ]
    return Item(b"av01", _find(coded, b"mdat"), [*own, *properties], **rest)  # type: ignore[arg-type]


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position < len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        yield kind, data[position + 8 : position + size]
        position += size


def _find(data: bytes, wanted: bytes) -> bytes:
    return next(payload for kind, payload in _boxes(data) if kind == wanted)
