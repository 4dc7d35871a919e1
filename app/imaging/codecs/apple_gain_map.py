"""Gain maps of Apple's cameras, converted to those of Ultra HDR and ISO 21496-1.

Source: Apple, "Applying Apple HDR effect to your photos". A gain map, coded by the curve of BT.709,
stands for light that is 1 + (headroom - 1) g times that of the image, where g is its light.
"""

from __future__ import annotations

import math
import struct

import numpy as np
import simplejpeg

from app.imaging import xmp
from app.imaging.codecs import jpeg_segments
from app.imaging.codecs.jpeg_segments import APP1, APP2, XMP
from app.imaging.exif import Exif, Value, read_values
from app.imaging.exif_tags import Tag
from app.imaging.raster import Samples

NAMESPACE = "http://ns.apple.com/HDRGainMap/1.0/"
AUXILIARY_TYPE = "urn:com:apple:photo:2020:aux:hdrgainmap"
ISO_SIGNATURE = b"urn:iso:std:iso:ts:21496:-1\0"

_NOTE = b"Apple iOS\0"
_NOTE_ORDER, _NOTE_DIRECTORY = 12, 14  # offsets in a maker note
_HDR_HEADROOM, _HDR_GAIN = 33, 48  # its tags
_SIGNED_RATIONAL = 10  # a type of TIFF
_MOST_STOPS = 8.0
_QUALITY = 95
_UNIT = 1 << 16  # the denominator of all fractions
_PARAMETERS = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0" '
    'hdrgm:GainMapMin="0" hdrgm:GainMapMax="{stops:.6f}" hdrgm:Gamma="1" hdrgm:OffsetSDR="0" '
    'hdrgm:OffsetHDR="0" hdrgm:HDRCapacityMin="0" hdrgm:HDRCapacityMax="{stops:.6f}" '
    'hdrgm:BaseRenditionIsHDR="False"/></rdf:RDF></x:xmpmeta>'
)


def read_stops(exif: bytes | None, packet: bytes | None) -> float | None:
    """Return the headroom of an image in stops, or None where it is not stated or is none.

    Args:
        exif: of the image; the maker note states it in the files of older systems.
        packet: the XMP of the gain map, which states it in those of newer ones.
    """
    stated = xmp.find_property(packet, (NAMESPACE, "HDRGainMapHeadroom")) if packet else None
    try:
        stops = math.log2(float(stated)) if stated else _stops_of_maker_note(exif or b"")
    except (ValueError, OverflowError):
        return None
    return stops if stops is not None and 0 < stops <= _MOST_STOPS else None


def _stops_of_maker_note(exif: bytes) -> float | None:
    """Return the headroom in stops by Apple's formula, or None.

    Raises:
        ValueError: this is not an EXIF block.
    """
    details = Exif.parse(exif).directory.get(Tag.EXIF)
    note = details.get(Tag.MAKER_NOTE) if isinstance(details, dict) else None
    if not isinstance(note, Value) or not note.data.startswith(_NOTE):
        return None
    order = "<" if note.data[_NOTE_ORDER:].startswith(b"II") else ">"
    found = {}
    for tag, value in read_values(note.data, order, _NOTE_DIRECTORY):
        if tag in (_HDR_HEADROOM, _HDR_GAIN) and value.kind == _SIGNED_RATIONAL:
            numerator, denominator = struct.unpack_from(order + "ii", value.data)
            found[tag] = numerator / denominator if denominator else 0.0
    if len(found) < 2:
        return None
    headroom, gain = found[_HDR_HEADROOM], found[_HDR_GAIN]
    if headroom < 1:
        return -20 * gain + 1.8 if gain <= 0.01 else -0.101 * gain + 1.601
    return -70 * gain + 3.0 if gain <= 0.01 else -0.303 * gain + 2.303


def convert(samples: Samples, stops: float) -> bytes:
    """Convert a gain map (H, W) uint8 to a JPEG with the parameters of both standards."""
    coded = np.arange(256) / 255
    light = np.where(coded < 0.081, coded / 4.5, ((coded + 0.099) / 1.099) ** (1 / 0.45))
    gain = np.log2(1 + (2**stops - 1) * light) / stops
    gray = np.rint(gain * 255).astype(np.uint8)[samples][..., np.newaxis]
    jpeg = simplejpeg.encode_jpeg(gray, _QUALITY, "GRAY", "Gray")
    packet = _PARAMETERS.format(stops=stops).encode()
    parameters = (
        jpeg_segments.build_segment(APP1, XMP, packet),
        jpeg_segments.build_segment(APP2, ISO_SIGNATURE, _iso_parameters(stops)),
    )
    return jpeg_segments.insert(jpeg, *parameters)


def _iso_parameters(stops: float) -> bytes:
    """Return the parameters of ISO 21496-1, annex C: versions, flags, headrooms, one channel."""
    one_channel_in_colours_of_image = 0x40
    numbers = (0, stops, 0, stops, 1, 0, 0)  # headrooms, least and most gain, gamma, two offsets
    fractions = (struct.pack(">iI", round(number * _UNIT), _UNIT) for number in numbers)
    return struct.pack(">HHB", 0, 0, one_channel_in_colours_of_image) + b"".join(fractions)
