"""Gain maps: the second image of a JPEG, which makes an HDR image of it on an HDR display.

Layouts: Google, "Ultra HDR Image Format v1.1"; ISO 21496-1; CIPA DC-007, "Multi-Picture Format".
Apple's gain maps are converted to those of both standards. Source: Apple, "Applying Apple HDR
effect to your photos". Its gain map, coded by the curve of BT.709, stands for light that is
1 + (headroom - 1) g times that of the image, where g is its light.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import simplejpeg

from app.imaging import xmp
from app.imaging.codecs import jpeg_segments
from app.imaging.codecs.jpeg_segments import APP1, APP2, EOI, SOS, XMP, Segment
from app.imaging.exif import Exif, Tag, Value, read_values
from app.imaging.raster import FormatError, Header, Samples, apply_orientation

_XMP_NAMESPACE = b"http://ns.adobe.com/hdr-gain-map/1.0/"
_ISO_VERSION = bytes(4)  # the least and the writer's, of ISO 21496-1
_ICC_OR_JFIF = (jpeg_segments.ICC, b"JFIF\0")
_ANNOUNCED = b'Semantic="GainMap"'
_SOI = b"\xff\xd8"
_MPF = b"MPF\0"
_MAX_IMAGES = 8  # after the first one; Apple's files have up to three
_MAX_SCANS = 12
_QUALITY = 95
_COLOURS = {1: ("GRAY", "Gray"), 3: ("RGB", "444")}  # by components: of pixels, and subsampling
_CONTAINER = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:Container="http://ns.google.com/photos/1.0/container/" '
    'xmlns:Item="http://ns.google.com/photos/1.0/container/item/" '
    'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"{version}>'
    '<Container:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><Container:Item '
    'Item:Semantic="Primary" Item:Mime="image/jpeg"/></rdf:li><rdf:li rdf:parseType="Resource">'
    '<Container:Item Item:Semantic="GainMap" Item:Mime="image/jpeg" Item:Length="{length}"/>'
    "</rdf:li></rdf:Seq></Container:Directory></rdf:Description></rdf:RDF></x:xmpmeta>"
)

APPLE_NAMESPACE = "http://ns.apple.com/HDRGainMap/1.0/"
APPLE_TYPE = "urn:com:apple:photo:2020:aux:hdrgainmap"
_ISO_SIGNATURE = b"urn:iso:std:iso:ts:21496:-1\0"

_NOTE = b"Apple iOS\0"
_NOTE_ORDER, _NOTE_DIRECTORY = 12, 14  # offsets in a maker note
_HDR_HEADROOM, _HDR_GAIN = 33, 48  # its tags
_SIGNED_RATIONAL = 10  # a type of TIFF
_MOST_STOPS = 8.0
_UNIT = 1 << 16  # the denominator of all fractions
_PARAMETERS = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0" '
    'hdrgm:GainMapMin="0" hdrgm:GainMapMax="{stops:.6f}" hdrgm:Gamma="1" hdrgm:OffsetSDR="0" '
    'hdrgm:OffsetHDR="0" hdrgm:HDRCapacityMin="0" hdrgm:HDRCapacityMax="{stops:.6f}" '
    'hdrgm:BaseRenditionIsHDR="False"/></rdf:RDF></x:xmpmeta>'
)


def read_gain_map(body: bytes, header: Header) -> bytes | None:
    """Return the gain map of an image, as `ImageCodec.read_gain_map` does."""
    # A gain map that is damaged is no reason to reject its image.
    with suppress(FormatError, IndexError, KeyError, ValueError, struct.error):
        segments = jpeg_segments.read_segments(body)
        has_parameters = _has_parameters(segments)
        if not has_parameters and jpeg_segments.find_payload(segments, APP2, _MPF) is None:
            return None
        last = None
        for image in _further_images(body, segments):
            last = image
            inner = jpeg_segments.read_segments(image)
            if has_parameters and _has_parameters(inner):
                return _extract(image, inner, header)
            packet = jpeg_segments.read_xmp(inner)
            if packet and APPLE_NAMESPACE.encode() in packet:
                return _convert(image, inner, header, packet)
        # One that the image announces is kept even where its own parameters were lost.
        if last and _ANNOUNCED in (jpeg_segments.read_xmp(segments) or b""):
            return _extract(last, jpeg_segments.read_segments(last), header)
    return None


def _further_images(body: bytes, segments: list[Segment]) -> Iterator[bytes]:
    """Yield the JPEGs that follow an image, each up to its EOI."""
    for _ in range(_MAX_IMAGES):
        end = next((it.start for it in jpeg_segments.scans(body, segments) if it.marker == EOI), -1)
        start = body.find(_SOI + b"\xff", end) if end >= 0 else -1
        if start < 0:
            return
        body = body[start:]
        segments = jpeg_segments.read_segments(body)
        if not segments or segments[-1].marker != SOS:
            return
        yield body


def _extract(image: bytes, segments: list[Segment], header: Header) -> bytes | None:
    """Return a JPEG up to its EOI with its parameters alone, turned as the image will be."""
    end = _check(image, segments, header)
    kept = [image[it.start - 4 : it.start + len(it.payload)] for it in segments if _is_kept(it)]
    if header.orientation == 1:
        return b"".join((_SOI, *kept, image[segments[-1].start + len(segments[-1].payload) : end]))
    colours, subsampling = _COLOURS[jpeg_segments.find_frame(segments).payload[5]]
    samples = simplejpeg.decode_jpeg(image[:end], colours)
    turned = apply_orientation(samples, header.orientation)
    parameters = [
        jpeg_segments.build_segment(it.marker, b"", it.payload)
        for it in segments
        if _has_parameters([it]) or it.payload.startswith(jpeg_segments.ICC)
    ]
    jpeg = simplejpeg.encode_jpeg(turned, _QUALITY, colours, subsampling)
    return jpeg_segments.insert(jpeg, *parameters)


def _convert(image: bytes, segments: list[Segment], header: Header, packet: bytes) -> bytes | None:
    """Return a gain map of Apple's as one of Ultra HDR."""
    stops = read_apple_stops(header.metadata.exif, packet)
    if stops is None:
        return None
    end = _check(image, segments, header)
    samples = simplejpeg.decode_jpeg(image[:end], "GRAY")
    return convert_apple(apply_orientation(samples, header.orientation)[..., 0], stops)


def _check(image: bytes, segments: list[Segment], header: Header) -> int:
    """Return the end of a gain map.

    Raises:
        FormatError: it has more pixels than its image, too many scans, or no end.
    """
    height, width, *_ = simplejpeg.decode_jpeg_header(image)
    rest = list(jpeg_segments.scans(image, segments))
    ends = [it.start for it in rest if it.marker == EOI]
    if not ends or sum(it.marker == SOS for it in rest) >= _MAX_SCANS:
        raise FormatError("its gain map has no end, or too many scans")
    if height * width > header.height * header.width:
        raise FormatError("its gain map has more pixels than the image")
    return ends[0]


def _has_parameters(segments: list[Segment]) -> bool:
    return any(
        (it.marker == APP1 and it.payload.startswith(XMP) and _XMP_NAMESPACE in it.payload)
        or _is_iso(it)
        for it in segments
    )


def _is_iso(segment: Segment) -> bool:
    return segment.marker == APP2 and segment.payload.startswith(_ISO_SIGNATURE)


def _is_kept(segment: Segment) -> bool:
    """Return whether a segment of a gain map stays: no EXIF, comments or other images."""
    application = 0xE0 <= segment.marker <= 0xEF or segment.marker == 0xFE
    return not application or _has_parameters([segment]) or segment.payload.startswith(_ICC_OR_JFIF)


def describe(packet: bytes | None, gain_map: bytes) -> bytes | None:
    """Add to an XMP packet that a gain map follows the image."""
    version = ' hdrgm:Version="1.0"' if _XMP_NAMESPACE in gain_map else ""
    container = _CONTAINER.format(version=version, length=len(gain_map)).encode()
    return xmp.merge([container, packet] if packet else [container])


def announce(gain_map: bytes) -> bytes:
    """Return the segment that announces a gain map of ISO 21496-1, if it is of that kind."""
    iso = any(map(_is_iso, jpeg_segments.read_segments(gain_map)))
    return jpeg_segments.build_segment(APP2, _ISO_SIGNATURE, _ISO_VERSION) if iso else b""


def build_index(length: int, split: int, gain_map: bytes) -> bytes:
    """Return the segment that tells where the gain map behind an image is.

    Args:
        length: of the image, without this segment.
        split: the offset in the image where the segment will be.
        gain_map: follows the image.
    """
    size = len(jpeg_segments.build_segment(APP2, _MPF, _index(0, 0, 0)))
    origin = split + 4 + len(_MPF)  # offsets count from the byte order mark
    primary = length + size
    index = _index(primary, len(gain_map), primary - origin)
    return jpeg_segments.build_segment(APP2, _MPF, index)


def _index(primary: int, secondary: int, offset: int) -> bytes:
    entries = struct.pack(">IIIHH", 0x030000, primary, 0, 0, 0)
    entries += struct.pack(">IIIHH", 0, secondary, offset, 0, 0)
    directory = struct.pack(">HHHI4s", 3, 0xB000, 7, 4, b"0100")
    directory += struct.pack(">HHII", 0xB001, 4, 1, 2)
    directory += struct.pack(">HHIII", 0xB002, 7, len(entries), 50, 0)
    return b"MM\0*" + struct.pack(">I", 8) + directory + entries


def read_apple_stops(exif: bytes | None, packet: bytes | None) -> float | None:
    """Return the headroom of an image in stops, or None where it is not stated or is none.

    Args:
        exif: of the image; the maker note states it in the files of older systems.
        packet: the XMP of the gain map, which states it in those of newer ones.
    """
    stated = xmp.find_property(packet, (APPLE_NAMESPACE, "HDRGainMapHeadroom")) if packet else None
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


def convert_apple(samples: Samples, stops: float) -> bytes:
    """Convert a gain map (H, W) uint8 to a JPEG with the parameters of both standards."""
    coded = np.arange(256) / 255
    light = np.where(coded < 0.081, coded / 4.5, ((coded + 0.099) / 1.099) ** (1 / 0.45))
    gain = np.log2(1 + (2**stops - 1) * light) / stops
    gray = np.rint(gain * 255).astype(np.uint8)[samples][..., np.newaxis]
    jpeg = simplejpeg.encode_jpeg(gray, _QUALITY, "GRAY", "Gray")
    packet = _PARAMETERS.format(stops=stops).encode()
    parameters = (
        jpeg_segments.build_segment(APP1, XMP, packet),
        jpeg_segments.build_segment(APP2, _ISO_SIGNATURE, _iso_parameters(stops)),
    )
    return jpeg_segments.insert(jpeg, *parameters)


def _iso_parameters(stops: float) -> bytes:
    """Return the parameters of ISO 21496-1, annex C: versions, flags, headrooms, one channel."""
    one_channel_in_colours_of_image = 0x40
    numbers = (0, stops, 0, stops, 1, 0, 0)  # headrooms, least and most gain, gamma, two offsets
    fractions = (struct.pack(">iI", round(number * _UNIT), _UNIT) for number in numbers)
    return struct.pack(">HHB", 0, 0, one_channel_in_colours_of_image) + b"".join(fractions)
