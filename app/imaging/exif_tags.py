"""The tags of EXIF and TIFF that mean something to us (Exif 3.0, CIPA DC-008-2023)."""

from __future__ import annotations

from enum import IntEnum


class Tag(IntEnum):
    """The tags that mean something to us."""

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


# Stale once pixels are turned or resized.
DIMENSIONS = frozenset(
    {Tag.IMAGE_WIDTH, Tag.IMAGE_LENGTH, Tag.PIXEL_X_DIMENSION, Tag.PIXEL_Y_DIMENSION}
)
# Who and where; the last four are containers that may repeat it.
PERSONAL = frozenset(
    {
        Tag.GPS,
        Tag.CAMERA_OWNER,
        Tag.BODY_SERIAL_NUMBER,
        Tag.LENS_SERIAL_NUMBER,
        Tag.DNG_SERIAL_NUMBER,
        Tag.MAKER_NOTE,
        Tag.XMP,
        Tag.IPTC,
        Tag.PHOTOSHOP,
    }
)
# What a TIFF file's own directory says about the photo, not about the layout of its pixels.
DESCRIPTIVE = frozenset(
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
