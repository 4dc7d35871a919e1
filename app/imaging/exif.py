"""EXIF blocks: taken apart into raw values, filtered, and put together again.

Values stay raw bytes, so that unknown tags are kept.
Layout: TIFF 6.0 section 2.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Literal, NamedTuple


class Tag(IntEnum):
    """The tags of EXIF and TIFF that are read or changed here (Exif 3.0, CIPA DC-008-2023)."""

    IMAGE_WIDTH = 0x0100
    IMAGE_LENGTH = 0x0101
    DESCRIPTION = 0x010E
    MAKE = 0x010F
    MODEL = 0x0110
    ORIENTATION = 0x0112
    SOFTWARE = 0x0131
    DATE_TIME = 0x0132
    ARTIST = 0x013B
    HOST_COMPUTER = 0x013C
    XMP = 0x02BC
    COPYRIGHT = 0x8298
    IPTC = 0x83BB
    PHOTOSHOP = 0x8649
    EXIF = 0x8769
    GPS = 0x8825
    MAKER_NOTE = 0x927C
    PIXEL_X_DIMENSION = 0xA002
    PIXEL_Y_DIMENSION = 0xA003
    INTEROPERABILITY = 0xA005
    CAMERA_OWNER = 0xA430
    BODY_SERIAL_NUMBER = 0xA431
    LENS_SERIAL_NUMBER = 0xA435
    DNG_SERIAL_NUMBER = 0xC62F


Order = Literal["<", ">"]

BYTE, SHORT, LONG = 1, 3, 4
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}  # by the number of the type
_SIZES = dict(enumerate((1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8), start=1))
_SIZES |= {13: 4, 16: 8, 18: 8, 129: 1}  # offsets of directories, 64 bits, UTF-8
_MAX_ENTRIES = 4096  # of a directory that are read; cameras write about a hundred
_MAGICS = {"<": b"II*\0", ">": b"MM\0*"}
_BIG_MAGICS = {"<": b"II+\0", ">": b"MM\0+"}

# Tags of a TIFF file's own directory that describe the photo, not the layout of its pixels.
_DESCRIPTIVE = frozenset(
    {
        Tag.DESCRIPTION,
        Tag.MAKE,
        Tag.MODEL,
        Tag.ORIENTATION,
        Tag.SOFTWARE,
        Tag.DATE_TIME,
        Tag.ARTIST,
        Tag.HOST_COMPUTER,
        Tag.COPYRIGHT,
    }
)


class _Layout(NamedTuple):
    """Formats of the number of entries, an entry up to its value, and an offset."""

    start: int  # where the offset of the first directory stands
    number: str
    entry: str
    offset: str


_CLASSIC = _Layout(4, "H", "HHI", "I")
_BIG = _Layout(8, "Q", "HHQ", "Q")  # BigTIFF

Tree = dict[int, "Tree"]
_SUBDIRECTORIES: Tree = {Tag.EXIF: {Tag.INTEROPERABILITY: {}}, Tag.GPS: {}}


@dataclass(frozen=True)
class Value:
    """One tag's value.

    Attributes:
        kind: TIFF's number for the type.
        data: the value in the byte order of its block.
        offset: where in the block it must stay, or None for anywhere.
    """

    kind: int
    data: bytes
    offset: int | None = None

    @property
    def count(self) -> int:
        """The number of numbers or characters."""
        return len(self.data) // _SIZES[self.kind]

    def numbers(self, order: Order) -> tuple[int, ...]:
        """Return the integers that it consists of; none for other types."""
        code = _INTEGERS.get(self.kind)
        return () if code is None else struct.unpack(f"{order}{self.count}{code}", self.data)


Directory = dict[int, "Value | Directory"]


@dataclass(frozen=True)
class Exif:
    """An EXIF block without its thumbnail.

    Attributes:
        order: "<" for little-endian, ">" for big-endian.
        directory: IFD0, with the Exif, GPS and interoperability directories nested in it.
    """

    order: Order
    directory: Directory

    @classmethod
    def parse(cls, block: bytes) -> Exif:
        r"""Read a block, with or without a leading "Exif\0\0", or a TIFF or BigTIFF file.

        Values outside it are left out.

        Raises:
            ValueError: this is not an EXIF block.
        """
        block = block.removeprefix(b"Exif\0\0")
        order: Order = "<" if block.startswith(b"II") else ">"
        layout = _BIG if block.startswith(_BIG_MAGICS[order]) else _CLASSIC
        if layout is _CLASSIC and not block.startswith(_MAGICS[order]):
            raise ValueError("not an EXIF block")
        try:
            (offset,) = struct.unpack_from(order + layout.offset, block, layout.start)
            offset = min(offset, len(block))
            return cls(order, _read(block, order, layout, offset, _SUBDIRECTORIES))
        except struct.error as error:
            raise ValueError("an EXIF block cut short") from error

    def filter(self, keep: Callable[[int], bool]) -> Exif:
        """Return a block of the tags that `keep` accepts, in every directory."""
        return Exif(self.order, _filter(self.directory, keep))

    def upright(self) -> Exif:
        """Set the orientation to 1, if it has a value that is applied."""
        if self.orientation() is None:
            return self
        one = Value(SHORT, struct.pack(self.order + "H", 1))
        return Exif(self.order, {**self.directory, Tag.ORIENTATION: one})

    def movable(self) -> Exif:
        """With a maker note that may stand anywhere."""
        return Exif(self.order, _keep_movable(self.directory))

    def orientation(self) -> int | None:
        """Return 1..8, or None where there is none of these; any type of integer is read."""
        value = self.directory.get(Tag.ORIENTATION)
        first = value.numbers(self.order)[:1] if isinstance(value, Value) else ()
        return first[0] if first and 1 <= first[0] <= 8 else None

    def tobytes(self) -> bytes | None:
        """Return the block, or None if it is empty."""
        if not self.directory:
            return None
        fixed = self._maker_note()
        start = 8 + len(fixed)
        header = _MAGICS[self.order] + struct.pack(self.order + "I", start)
        return header + fixed + build_exif(self.directory, self.order, start)

    def _maker_note(self) -> bytes:
        """Return the bytes after the header if there is a maker note: a gap and the note.

        Makers count offsets inside a note from the start of the block, so it must not move.
        """
        exif = self.directory.get(Tag.EXIF)
        note = exif.get(Tag.MAKER_NOTE) if isinstance(exif, dict) else None
        if not isinstance(note, Value) or note.offset is None:
            return b""
        return bytes(note.offset - 8) + note.data + bytes((note.offset + len(note.data)) % 2)


def read_orientation(block: bytes | None) -> int | None:
    """Return the orientation 1..8 that a block of unknown quality states, or None."""
    try:
        return Exif.parse(block or b"").orientation()
    except ValueError:
        return None


def remove_orientation(block: bytes | None) -> bytes | None:
    """Make a block for containers that state the orientation themselves."""
    if block is None:
        return None
    return Exif.parse(block).filter(lambda tag: tag != Tag.ORIENTATION).tobytes()


def from_tiff(body: bytes) -> bytes | None:
    """Make an EXIF block of the first directory of a TIFF file."""
    try:
        exif = Exif.parse(body).movable()
    except ValueError:
        return None
    return Exif(exif.order, descriptive_tags(exif.directory)).tobytes()


def descriptive_tags(directory: Directory) -> Directory:
    """Return the tags of a TIFF directory that describe the image, not the layout of its pixels."""
    return {
        tag: value
        for tag, value in directory.items()
        if tag in _DESCRIPTIVE or isinstance(value, dict)
    }


def build_exif(directory: Directory, order: str, base: int) -> bytes:
    """Write a directory, its values and its subdirectories for offset `base`."""
    end = base + 2 + 12 * len(directory) + 4
    entries, tail = [struct.pack(order + "H", len(directory))], b""
    for tag, value in sorted(directory.items()):
        here = end + len(tail)
        if isinstance(value, dict):
            tail += build_exif(value, order, here)
            pointer = Value(LONG, struct.pack(order + "I", here))
            entries.append(_entry(tag, pointer, order, here))
        else:
            if len(value.data) > 4 and value.offset is None:
                tail += value.data + bytes(len(value.data) % 2)
            entries.append(_entry(tag, value, order, here))
    return b"".join((*entries, bytes(4), tail))


def _entry(tag: int, value: Value, order: str, here: int) -> bytes:
    offset = struct.pack(order + "I", here if value.offset is None else value.offset)
    field = value.data.ljust(4, b"\0") if len(value.data) <= 4 else offset
    return struct.pack(order + "HHI", tag, value.kind, value.count) + field


def _read(
    block: bytes, order: str, layout: _Layout, offset: int, subdirectories: Tree
) -> Directory:
    directory: Directory = {}
    for tag, value in read_values(block, order, offset, layout):
        if tag not in subdirectories:
            directory[tag] = value
        # Only the first: many entries may lead to one directory that again leads to itself.
        elif tag not in directory and len(value.data) in (4, 8):
            start = int.from_bytes(value.data, "little" if order == "<" else "big")
            with suppress(struct.error):  # an offset outside the block
                start = min(start, len(block))
                directory[tag] = _read(block, order, layout, start, subdirectories[tag])
    return directory


def read_values(
    block: bytes, order: str, offset: int, layout: _Layout = _CLASSIC
) -> Iterator[tuple[int, Value]]:
    """Yield the tags and values of a directory that lie in the block; the rest is left out.

    Raises:
        struct.error: the directory does not begin in the block.
    """
    head, inline = struct.Struct(order + layout.entry), struct.calcsize(layout.offset)
    (count,) = struct.unpack_from(order + layout.number, block, offset)
    first, length = offset + struct.calcsize(layout.number), head.size + inline
    count = min(count, _MAX_ENTRIES)
    budget = len(block)  # values that share their bytes would blow up a small block
    for position in range(first, min(first + length * count, len(block) - length + 1), length):
        tag, kind, number = head.unpack_from(block, position)
        size = number * _SIZES.get(kind, 0)
        start = position + head.size
        if size > inline:
            (start,) = struct.unpack_from(order + layout.offset, block, start)
        if start >= 8 and 0 < size <= min(len(block) - start, budget):
            budget -= size
            stays = tag == Tag.MAKER_NOTE and size > 4
            yield tag, Value(kind, block[start : start + size], start if stays else None)


def _filter(directory: Directory, keep: Callable[[int], bool]) -> Directory:
    return {
        tag: _filter(value, keep) if isinstance(value, dict) else value
        for tag, value in directory.items()
        if keep(tag)
    }


def _keep_movable(directory: Directory) -> Directory:
    return {
        tag: _keep_movable(value) if isinstance(value, dict) else replace(value, offset=None)
        for tag, value in directory.items()
    }
