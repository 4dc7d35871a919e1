"""The part of an image's EXIF and XMP that its result keeps."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from xml.dom.minidom import Document
from xml.parsers.expat import ExpatError

from app.imaging import xmp
from app.imaging.exif import Exif, Tag
from app.imaging.exif import read_orientation as read_exif_orientation
from app.imaging.raster import Metadata

MAX_BLOCK = 1 << 18  # bytes; a larger block is dropped: a hostile one would be slow to parse

# Stale once pixels are turned or resized.
_DIMENSIONS = frozenset(
    {Tag.IMAGE_WIDTH, Tag.IMAGE_LENGTH, Tag.PIXEL_X_DIMENSION, Tag.PIXEL_Y_DIMENSION}
)
# Who and where; the last four are containers that may repeat it.
_PERSONAL = frozenset(
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

# Properties in XMP of the old pixels, or of parts of the file that are not written again:
# previews, gain maps, motion clips, and further packets.
_STALE_NAMESPACES = (
    "http://ns.adobe.com/hdr-gain-map/1.0/",
    "http://ns.google.com/photos/1.0/container/",
    "http://ns.apple.com/HDRGainMap/1.0/",
)
_STALE_NAMES = re.compile(
    r"Thumbnails|ImageWidth|ImageLength|Pixel[XY]Dimension|HasExtendedXMP|(Micro|Motion)\w+"
)
# By name in any namespace: besides exif:, aux: and exifEX:, drone makers have their own.
_PERSONAL_NAMES = re.compile(
    r"gps\w*|\w*(latitude|longitude|serialnumber|ownername|cameraowner\w*)|makernote", re.IGNORECASE
)


class MetadataPolicy(StrEnum):
    """How much of an image's metadata the result carries."""

    KEEP = "keep"
    """All that is still true of the new pixels."""
    SAFE = "safe"
    """Without places, serial numbers, owners and maker notes."""
    STRIP = "strip"
    """Nothing."""


def read_orientation(metadata: Metadata) -> int:
    """Return the orientation 1..8 of the EXIF block, else of the XMP packet, else 1."""
    return read_exif_orientation(metadata.exif) or xmp.read_orientation(metadata.xmp) or 1


def reset_orientation(metadata: Metadata) -> Metadata:
    """Return the metadata that are true of decoded, upright and perhaps resized pixels.

    The orientation becomes 1; thumbnails and dimensions go. A block that cannot be read is
    dropped: it must not fail its photo.
    """

    def exif(block: Exif) -> Exif:
        return block.filter(lambda tag: tag not in _DIMENSIONS).upright()

    return Metadata(_edit_exif(metadata.exif, exif), _edit_xmp(metadata.xmp, _make_upright))


def filter_metadata(metadata: Metadata, policy: MetadataPolicy) -> Metadata:
    """Return the metadata of a decoded image that a policy keeps."""
    if policy is MetadataPolicy.KEEP:
        return metadata
    if policy is MetadataPolicy.STRIP:
        return Metadata()

    def exif(block: Exif) -> Exif:
        return block.filter(lambda tag: tag not in _PERSONAL)

    return Metadata(_edit_exif(metadata.exif, exif), _edit_xmp(metadata.xmp, _make_safe))


def _edit_exif(block: bytes | None, edit: Callable[[Exif], Exif]) -> bytes | None:
    if not block or len(block) > MAX_BLOCK:
        return None
    try:
        return edit(Exif.parse(block)).tobytes()
    except ValueError:
        return None


def _edit_xmp(packet: bytes | None, edit: Callable[[Document], None]) -> bytes | None:
    if not packet or len(packet) > xmp.MAX_PACKET:
        return None
    try:
        document = xmp.parse(packet)
        edit(document)
        return xmp.serialise(document)
    except (ValueError, ExpatError, RecursionError):
        return None


def _make_upright(document: Document) -> None:
    xmp.remove(
        document,
        lambda property_: (
            property_[0] in _STALE_NAMESPACES or bool(_STALE_NAMES.fullmatch(property_[1]))
        ),
    )
    xmp.set_upright(document)


def _make_safe(document: Document) -> None:
    xmp.remove(document, lambda property_: bool(_PERSONAL_NAMES.fullmatch(property_[1])))
