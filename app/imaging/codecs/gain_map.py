"""Gain maps: the second image of a JPEG, which makes an HDR image of it on an HDR display.

Layouts: Google, "Ultra HDR Image Format v1.1"; ISO 21496-1; CIPA DC-007, "Multi-Picture Format".
"""

from __future__ import annotations

import struct

from app.imaging import xmp
from app.imaging.codecs import jpeg_segments
from app.imaging.codecs.jpeg_segments import APP1, APP2, EOI, XMP, Segment
from app.imaging.raster import FormatError

_XMP_NAMESPACE = b"http://ns.adobe.com/hdr-gain-map/1.0/"
_ISO = b"urn:iso:std:iso:ts:21496:-1\0"
_ICC_OR_JFIF = (jpeg_segments.ICC, b"JFIF\0")
_SOI = b"\xff\xd8"
_MPF = b"MPF\0"
_CONTAINER = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:Container="http://ns.google.com/photos/1.0/container/" '
    'xmlns:Item="http://ns.google.com/photos/1.0/container/item/" '
    'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0">'
    '<Container:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><Container:Item '
    'Item:Semantic="Primary" Item:Mime="image/jpeg"/></rdf:li><rdf:li rdf:parseType="Resource">'
    '<Container:Item Item:Semantic="GainMap" Item:Mime="image/jpeg" Item:Length="{length}"/>'
    "</rdf:li></rdf:Seq></Container:Directory></rdf:Description></rdf:RDF></x:xmpmeta>"
)


def read_gain_map(body: bytes, segments: list[Segment]) -> bytes | None:
    """Return the gain map of an image, a JPEG with nothing but its own parameters, or None."""
    if not _has_parameters(segments):
        return None
    end = next((it.start for it in jpeg_segments.scans(body, segments) if it.marker == EOI), -1)
    start = body.find(_SOI + b"\xff", end) if end >= 0 else -1
    if start < 0:
        return None
    gain_map = body[start:]
    try:
        inner = jpeg_segments.read_segments(gain_map)
        jpeg_segments.find_frame(inner)
    except (FormatError, struct.error):
        return None
    end = next((it.start for it in jpeg_segments.scans(gain_map, inner) if it.marker == EOI), -1)
    if end < 0 or not _has_parameters(inner):
        return None
    return (
        _SOI
        + b"".join(
            gain_map[it.start - 4 : it.start + len(it.payload)] for it in inner if _is_kept(it)
        )
        + gain_map[inner[-1].start + len(inner[-1].payload) : end]
    )


def _has_parameters(segments: list[Segment]) -> bool:
    return any(
        (it.marker == APP1 and it.payload.startswith(XMP) and _XMP_NAMESPACE in it.payload)
        or (it.marker == APP2 and it.payload.startswith(_ISO))
        for it in segments
    )


def _is_kept(segment: Segment) -> bool:
    """Tell whether a segment of a gain map stays: no EXIF, comments or other images."""
    application = 0xE0 <= segment.marker <= 0xEF or segment.marker == 0xFE
    return not application or _has_parameters([segment]) or segment.payload.startswith(_ICC_OR_JFIF)


def describe(packet: bytes | None, gain_map: bytes) -> bytes | None:
    """Add to an XMP packet that a gain map follows the image."""
    container = _CONTAINER.format(length=len(gain_map)).encode()
    return xmp.merge([container, packet] if packet else [container])


def append(jpeg: bytes, split: int, gain_map: bytes) -> bytes:
    """Append a gain map, and insert an index of the two images at the offset `split`."""
    size = len(jpeg_segments.build_segment(APP2, _MPF, _index(0, 0, 0)))
    origin = split + 4 + len(_MPF)  # offsets count from the byte order mark
    primary = len(jpeg) + size
    index = _index(primary, len(gain_map), primary - origin)
    return b"".join(
        (jpeg[:split], jpeg_segments.build_segment(APP2, _MPF, index), jpeg[split:], gain_map)
    )


def _index(primary: int, secondary: int, offset: int) -> bytes:
    entries = struct.pack(">IIIHH", 0x030000, primary, 0, 0, 0)
    entries += struct.pack(">IIIHH", 0, secondary, offset, 0, 0)
    directory = struct.pack(">HHHI4s", 3, 0xB000, 7, 4, b"0100")
    directory += struct.pack(">HHII", 0xB001, 4, 1, 2)
    directory += struct.pack(">HHIII", 0xB002, 7, len(entries), 50, 0)
    return b"MM\0*" + struct.pack(">I", 8) + directory + entries
