"""EXIF blocks, taken apart and put together."""

from __future__ import annotations

import struct
from time import process_time

import hypothesis.strategies as st
import pytest
from hypothesis import given

from app.imaging.exif import Exif, Tag, Value, read_orientation
from tests.helpers.files import exif, read_exif


def test_round_trip_keeps_every_value() -> None:
    """Parsing and writing changes no value and no type."""
    parsed = Exif.parse(exif())
    again = Exif.parse(parsed.tobytes() or b"")
    assert again == parsed
    assert dict(read_exif(parsed.tobytes())).keys() == dict(read_exif(exif())).keys()


def test_maker_note_stays_in_place() -> None:
    """A maker note keeps its offset, from which its own offsets are counted, when others go."""
    block = exif().removeprefix(b"Exif\0\0")
    note = b"MAKER NOTE WITH OFFSETS"
    slimmer = Exif.parse(block).filter(lambda tag: tag not in (Tag.GPS, Tag.MAKE)).tobytes()
    assert slimmer is not None
    assert slimmer.index(note) == block.index(note)
    assert read_exif(slimmer).get_ifd(Tag.EXIF)[Tag.MAKER_NOTE] == note


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders(order: str) -> None:
    """Blocks are read and written in their own byte order."""
    magic = b"II*\0" if order == "<" else b"MM\0*"
    block = magic + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    assert read_orientation(block) == 6
    assert read_orientation(Exif.parse(block).upright().tobytes()) == 1


def test_shared_bytes_do_not_multiply() -> None:
    """Thousands of entries that point at the same bytes do not blow a block up."""
    entries = b"".join(struct.pack("<HHII", tag, 7, 50_000, 8) for tag in range(4_000))
    block = b"II*\0" + struct.pack("<IH", 8, 4_000) + entries + bytes(20_000)
    rewritten = Exif.parse(block).tobytes()
    assert rewritten is None or len(rewritten) <= 2 * len(block)


def test_directories_have_a_limit() -> None:
    """Of a BigTIFF directory of a million entries the first ones are read."""
    count = 1_000_000
    entry = struct.pack("<HHQQ", Tag.ORIENTATION, 3, 1, 6)
    others = struct.pack("<HHQQ", Tag.MAKE, 3, 1, 6) * (count - 1)
    head = b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, count)
    assert read_orientation(head + entry + others) == 6
    assert read_orientation(head + others + entry) is None


def test_a_directory_that_points_at_itself() -> None:
    """A loop of directories ends."""
    block = b"II*\0" + struct.pack("<IHHHIII", 8, 1, Tag.EXIF, 4, 1, 8, 0)
    assert Exif.parse(block).directory == {Tag.EXIF: {Tag.EXIF: Value(4, struct.pack("<I", 8))}}


@given(st.binary(max_size=200), st.sampled_from([b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"]))
def test_any_bytes(tail: bytes, head: bytes) -> None:
    """Whatever follows a good start, parsing ends with a block or a ValueError."""
    try:
        Exif.parse(head + tail).upright().tobytes()
    except ValueError:
        return


def test_each_directory_is_read_once() -> None:
    """600 entries that lead to the directory they are in are no 54 million entries."""
    loop = struct.pack("<HHII", Tag.EXIF, 4, 1, 8)
    loop += struct.pack("<HHII", Tag.INTEROPERABILITY, 4, 1, 8)
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", 600) + loop * 300 + bytes(4)
    begun = process_time()
    directory = Exif.parse(block).directory
    assert process_time() - begun < 2
    assert isinstance(directory[Tag.EXIF], dict)
