"""Items of AVIF and HEIF files: codings, metadata and completeness.

Item types and locations: ISO/IEC 14496-12 sections 8.11.3 and 8.11.6; derived images and metadata:
ISO/IEC 23008-12 section 6.6 and annex A.
"""

from __future__ import annotations

import struct
from collections.abc import Container
from contextlib import suppress

from app.errors import NotAnImage
from app.imaging.codecs.bmff import (
    Box,
    find_box,
    item_properties,
    locate_box,
    primary_item,
    read_boxes,
    read_entries,
)
from app.imaging.raster import FormatError, Metadata

_XMP_TYPE = b"application/rdf+xml"
_EXIF_OFFSET = 4  # bytes of the number of bytes before the TIFF structure of an Exif item
_IN_FILE, _IN_IDAT = 0, 1  # construction methods
_DERIVED = frozenset({b"grid", b"iovl", b"iden"})  # items that are made of other items
_MAX_EXTENTS = 64  # of an item of metadata, each of which may be all of the file
_MAX_DEPTH = 8  # of derivations
_MAX_PARTS = 1024  # images of one: decoders keep memory for each; phones divide 48 MP into 200


_Location = tuple[int, list[tuple[int, int]]]  # construction method; offsets and lengths of parts
_NOWHERE: _Location = (_IN_FILE, [])


def check_image(body: bytes, name: str, supported: Container[bytes]) -> None:
    """Check the primary image, and all images that it is made of: coding, number and completeness.

    libheif leaves out the parts that are not in the file. Items that cannot be read pass: the
    decoder rejects them.

    Args:
        body: the file.
        name: of the format, for the message.
        supported: types of items.

    Raises:
        NotAnImage: an image is coded in another way; the message names it.
        FormatError: there are too many images, or the file is cut short.
    """
    parts: list[int] = []
    types: dict[int, bytes] = {}
    places: list[tuple[int, int]] = []
    with suppress(FormatError, IndexError, struct.error):
        meta = locate_box(body, b"meta")
        content = body[meta.start + 4 : meta.end]
        parts = _all_parts(content)
        types = _item_types(content)
        locations = _locations(body, meta)
        for item in parts:
            method, own = locations.get(item, _NOWHERE)
            places += own if method == _IN_FILE else []
    if len(parts) > _MAX_PARTS:
        raise FormatError(f"it is made of {len(parts)} images; {_MAX_PARTS} are accepted")
    for kind in (types[item] for item in parts if item in types):
        if kind not in supported:
            code = kind.decode("latin-1")
            coding = f"'{code}'" if code.isalnum() and code.isascii() else "an unknown way"
            raise NotAnImage(f"{name} whose image is coded as {coding} is not supported.")
    if any(at + size > len(body) for at, size in places):
        raise FormatError("it is cut short")


def read_coded(body: bytes) -> bytes:
    """Return the coded data of the primary image, or of its first part; none if it is damaged."""
    with suppress(FormatError, IndexError, KeyError, struct.error):
        meta = locate_box(body, b"meta")
        item = _first_coded(body[meta.start + 4 : meta.end])
        return _read_item(body, meta, _locations(body, meta).get(item, _NOWHERE))
    return b""


def read_configuration(body: bytes, kind: bytes) -> bytes:
    """Return a property of the primary image, or of its first part; none if it is damaged."""
    with suppress(FormatError, IndexError, KeyError, struct.error):
        meta = find_box(body, b"meta")[4:]
        return dict(item_properties(meta, _first_coded(meta))).get(kind, b"")
    return b""


def _all_parts(meta: bytes) -> list[int]:
    """Return the primary item and all items that it is made of, each before its own parts."""
    derivations = _read_derivations(meta)
    found = {primary_item(meta): None}
    further = list(found)
    while further:
        further = [part for item in further for part in derivations.get(item, ())]
        further = [part for part in dict.fromkeys(further) if part not in found]
        found.update(dict.fromkeys(further))
    return list(found)


def _first_coded(meta: bytes) -> int:
    """Return the primary item, or the first one that it is made of and that is coded itself.

    Raises:
        KeyError: a derived item is made of none.
    """
    derivations, types = _read_derivations(meta), _item_types(meta)
    item = primary_item(meta)
    for _ in range(_MAX_DEPTH):
        if types[item] not in _DERIVED:
            break
        item = derivations[item][0]
    return item


def _item_types(meta: bytes) -> dict[int, bytes]:
    return {it.item: it.kind for it in read_entries(meta, locate_box(meta, b"iinf"))}


def _read_derivations(meta: bytes) -> dict[int, list[int]]:
    """Return the items that each derived item is made of."""
    derived: dict[int, list[int]] = {}
    with suppress(FormatError):
        iref = find_box(meta, b"iref")
        size = 4 if iref[0] else 2
        for kind, references in read_boxes(iref[4:]):
            if kind == b"dimg":
                places = (0, *range(size + 2, len(references), size))
                item, *parts = (int.from_bytes(references[at : at + size]) for at in places)
                derived.setdefault(item, []).extend(parts)
    return derived


def read_metadata(body: bytes) -> Metadata:
    """Return EXIF and XMP of the primary image, as far as they can be read."""
    found: dict[bytes, bytes] = {}
    for kind, content, of_primary in _metadata_items(body):
        if of_primary:
            found.setdefault(kind, content)
    exif = found.get(b"Exif", b"")
    skipped = _EXIF_OFFSET + int.from_bytes(exif[:_EXIF_OFFSET])
    return Metadata(exif[skipped:] or None, found.get(b"mime") or None)


def read_packets(body: bytes) -> list[bytes]:
    """Return the XMP of all images, as far as it can be read."""
    return [content for kind, content, _ in _metadata_items(body) if kind == b"mime"]


def _metadata_items(body: bytes) -> list[tuple[bytes, bytes, bool]]:
    """Return type and content of each, and whether it describes the primary image."""
    found = []
    with suppress(FormatError, IndexError, struct.error):
        meta = locate_box(body, b"meta")
        start = meta.start + 4  # a full box: version and flags
        described = _find_described(body[start : meta.end])
        primary = primary_item(body[start : meta.end])
        locations = _locations(body, meta)
        for entry in read_entries(body, locate_box(body, b"iinf", start, meta.end)):
            if entry.kind == b"Exif" or (entry.kind == b"mime" and _XMP_TYPE in entry.rest):
                content = _read_item(body, meta, locations.get(entry.item, _NOWHERE))
                found.append((entry.kind, content, described.get(entry.item, primary) == primary))
    return found


def _find_described(meta: bytes) -> dict[int, int]:
    """Return which item each item describes."""
    found = {}
    with suppress(FormatError, IndexError, struct.error):
        iref = find_box(meta, b"iref")
        code = ">I2xI" if iref[0] else ">H2xH"  # between the two: the number of references
        for kind, references in read_boxes(iref[4:]):
            if kind == b"cdsc":
                item, described = struct.unpack_from(code, references)
                found[item] = described
    return found


def _locations(body: bytes, meta: Box) -> dict[int, _Location]:
    """Return the construction method of each item, and offset and length of its parts."""
    iloc = locate_box(body, b"iloc", meta.start + 4, meta.end)
    version, sizes = body[iloc.start], body[iloc.start + 4 : iloc.start + 6]
    offset_size, length_size, base_size = sizes[0] >> 4, sizes[0] & 15, sizes[1] >> 4
    index_size = sizes[1] & 15 if version else 0
    id_size = 4 if version > 1 else 2
    fields = _Fields(body, iloc.start + 6, iloc.end)
    found: dict[int, _Location] = {}
    with suppress(IndexError):  # items before the damage are good
        for _ in range(fields.read(id_size)):
            item = fields.read(id_size)
            method = fields.read(2) & 15 if version else _IN_FILE
            fields.read(2)  # the index of the file
            base, extents = fields.read(base_size), fields.read(2)
            places = []
            if not offset_size + length_size + index_size:  # they take no bytes: any number fits
                extents = min(extents, 1)
            for _ in range(extents):
                fields.read(index_size)
                places.append((base + fields.read(offset_size), fields.read(length_size)))
            if method in (_IN_FILE, _IN_IDAT):
                found.setdefault(item, (method, places[:_MAX_EXTENTS]))
    return found


def _read_item(body: bytes, meta: Box, location: _Location) -> bytes:
    """Return the bytes of an item."""
    method, places = location
    start, end = 0, len(body)
    if method == _IN_IDAT:
        _, start, end = locate_box(body, b"idat", meta.start + 4, meta.end)
    return b"".join(body[start + at : min(start + at + size, end)] for at, size in places)


class _Fields:
    """Reads big-endian numbers of 0 to 15 bytes in a row."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self._data, self._position, self._end = data, start, end

    def read(self, size: int) -> int:
        """Read a number; one of no bytes is 0.

        Raises:
            IndexError: the end is reached.
        """
        start, self._position = self._position, self._position + size
        if self._position > self._end:
            raise IndexError
        return int.from_bytes(self._data[start : self._position])
