"""The segments of a JPEG file, and the blocks that are stored in them.

Segments: ITU-T T.81, annex B; their uses: Exif 3.0 section 4.5.4, XMP part 3, ICC.1 annex B.4.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from app.imaging import xmp
from app.imaging.raster import FormatError

SOI, EOI, SOS, DNL = 0xD8, 0xD9, 0xDA, 0xDC
DQT, APP1, APP2 = 0xDB, 0xE1, 0xE2
EXIF = b"Exif\0\0"
XMP = b"http://ns.adobe.com/xap/1.0/\0"
EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
ICC = b"ICC_PROFILE\0"

LS = 0xF7  # the frame of JPEG-LS, ITU-T T.87
_FRAMES = {LS, *range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # DHT, JPG and DAC are no frames
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # TEM, RST0..7 and SOI have no length
_MARKER = re.compile(rb"\xff([^\x00\xff])")  # not a stuffed byte, nor padding
_NO_PIXELS = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])")  # nor TEM and RST0..7
_MAX_SEGMENTS = 10_000  # before the scan, and after it; the longest metadata take some hundred
_MAX_SCANS = 100  # ordinary files have about 10
_ORDINARY_SCANS = 12
_MAX_SCANNED_PIXELS = 400_000_000  # scans x pixels; each scan costs a pass over all coefficients
_WINDOW = 1 << 18  # bytes, which take at most some milliseconds
_MAX_TABLES = 64  # of quantisation, that are searched; a file needs at most 4
_SUMS_AT_50 = {15: 226, 64: 3688}  # of the first steps of luma, those of the low frequencies
_MAX_PAYLOAD = 0xFFFF - 2  # the length field counts itself
_GUID = 32  # bytes of a hexadecimal MD5
_EXTENSION_HEAD = _GUID + 8  # GUID, length of the whole and offset of the part


class Segment(NamedTuple):
    """A marker, the bytes after its length field, and their position in the file."""

    marker: int
    payload: bytes
    start: int


def read_segments(body: bytes) -> list[Segment]:
    """Read the segments up to the header of the first scan, which is the last one.

    Raises:
        FormatError: there are too many.
    """
    return list(_iterate(body))


def _iterate(body: bytes) -> Iterator[Segment]:
    position = 2
    for _ in range(_MAX_SEGMENTS):
        found = _search(_MARKER, body, position)  # stray bytes are skipped, as libjpeg does
        if found is None:
            return
        marker, start = found[1][0], found.end() + 2
        if marker in _STANDALONE:
            position = found.end()
            continue
        (length,) = struct.unpack_from(">H", body, found.end())
        position = found.end() + max(length, 2)
        yield Segment(marker, body[start:position], start)
        if marker == SOS:
            return
    raise FormatError(f"it has more than {_MAX_SEGMENTS} segments")


def _search(pattern: re.Pattern[bytes], body: bytes, position: int) -> re.Match[bytes] | None:
    """Search for a marker, window by window: `re` holds up all threads while it searches."""
    while position < len(body):
        found = pattern.search(body, position, position + _WINDOW + 1)  # a marker has two bytes
        if found is not None:
            return found
        position += _WINDOW
    return None


def check_scans(scans: int, pixels: int) -> None:
    """Check the scans of a picture of so many pixels.

    Raises:
        FormatError: they would take many times as long as its size does.
    """
    most = min(_MAX_SCANS, max(_ORDINARY_SCANS, _MAX_SCANNED_PIXELS // max(1, pixels)))
    if scans > most:
        raise FormatError(f"it has {scans} scans; {most} are accepted at its size")


def find_frame(segments: list[Segment]) -> Segment:
    """Return the frame header: precision, height, width, components, three bytes for each.

    Raises:
        FormatError: there is none, or it is cut short.
    """
    for segment in segments:
        if segment.marker in _FRAMES:
            if len(segment.payload) < 6 or len(segment.payload) < 6 + 3 * segment.payload[5]:
                raise FormatError("its frame header is cut short")
            return segment
    raise FormatError("it has no frame")


def estimate_quality(segments: list[Segment], frame: Segment) -> float | None:
    """Estimate the quality, 1..100, from the quantisation table of luma; None without a table.

    The table of the quality 50 is T.81's example (annex K.1); libjpeg scales it. Tables of another
    shape have the quality of their low or of all frequencies, whichever is higher: mozjpeg's are
    coarser at high frequencies, Photoshop's at low ones.
    """
    index = frame.payload[8]
    tables = islice(_tables(segments), _MAX_TABLES)
    steps = next((table for number, table in tables if number == index), None)
    if steps is None:
        return None
    percent = min(100 * sum(steps[:count]) / total for count, total in _SUMS_AT_50.items())
    return max(1.0, min(100.0, 100 - percent / 2 if percent <= 100 else 5000 / percent))


def _tables(segments: list[Segment]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield the numbers and the 64 steps of the quantisation tables; T.81, B.2.4.1."""
    for segment in segments:
        rest = segment.payload if segment.marker == DQT else b""
        while rest:
            layout = struct.Struct(">64H" if rest[0] >> 4 else ">64B")
            if len(rest) <= layout.size:
                return
            yield rest[0] & 15, layout.unpack_from(rest, 1)
            rest = rest[1 + layout.size :]


def scans(body: bytes, segments: list[Segment]) -> Iterator[Segment]:
    """Yield every segment of the picture that comes after its first scan's header.

    Ends at EOI, or at the end of the file: data after it, such as the video of a motion photo, is
    another file.
    """
    position = segments[-1].start + len(segments[-1].payload)
    for _ in range(_MAX_SEGMENTS):
        found = _search(_NO_PIXELS, body, position)
        if found is None:
            return
        marker, start = found[1][0], found.end() + 2
        if marker == EOI:
            yield Segment(EOI, b"", found.end())
            return
        position = start + max(0, int.from_bytes(body[found.end() : start]) - 2)
        yield Segment(marker, body[start : min(position, start + 64)], start)
    raise FormatError(f"it has more than {_MAX_SEGMENTS} segments after its first scan")


def fill_in_height(body: bytes, segments: list[Segment]) -> bytes:
    """Copy a height that is given only after the first scan, by DNL, to the frame header.

    Decoders do not read DNL. T.81, B.2.5.
    """
    frame = find_frame(segments)
    if frame.payload[1:3] != b"\0\0":
        return body
    for segment in scans(body, segments):
        if segment.marker == DNL and len(segment.payload) >= 2:
            at = frame.start + 1
            return body[:at] + segment.payload[:2] + body[at + 2 :]
    raise FormatError("it states no height")


def find_payload(segments: list[Segment], marker: int, signature: bytes) -> bytes | None:
    """Return the data after a signature, of as many segments as it takes, or None."""
    return b"".join(_payloads(segments, marker, signature)) or None


def _payloads(segments: list[Segment], marker: int, signature: bytes) -> list[bytes]:
    return [
        segment.payload[len(signature) :]
        for segment in segments
        if segment.marker == marker and segment.payload.startswith(signature)
    ]


def read_profile(segments: list[Segment]) -> bytes | None:
    """Join the parts of the ICC profile in the order of their numbers."""
    parts = sorted(_payloads(segments, APP2, ICC))
    return b"".join(part[2:] for part in parts) or None  # after its number and their count


def read_xmp(segments: list[Segment]) -> bytes | None:
    """Return the XMP packet, with the properties of further and of extended packets added."""
    packets = _payloads(segments, APP1, XMP)
    extensions: dict[bytes, dict[int, bytes]] = {}
    for part in _payloads(segments, APP1, EXTENDED_XMP):
        if len(part) > _EXTENSION_HEAD:
            (offset,) = struct.unpack_from(">I", part, _GUID + 4)
            extensions.setdefault(part[:_GUID], {})[offset] = part[_EXTENSION_HEAD:]
    packets += [b"".join(part for _, part in sorted(it.items())) for it in extensions.values()]
    return packets[0] if len(packets) == 1 else xmp.merge(packets)


def build_segment(marker: int, signature: bytes, payload: bytes | None) -> bytes:
    """Return a segment; nothing where the payload is empty or does not fit."""
    if not payload or len(signature) + len(payload) > _MAX_PAYLOAD:
        return b""
    length = 2 + len(signature) + len(payload)
    return struct.pack(">BBH", 0xFF, marker, length) + signature + payload


def insert(jpeg: bytes, *segments: bytes) -> bytes:
    """Insert segments where readers expect them: after SOI and the APP0 of JFIF."""
    (length,) = struct.unpack_from(">H", jpeg, 4)
    return b"".join((jpeg[: 4 + length], *segments, jpeg[4 + length :]))


def build_xmp(packet: bytes | None) -> bytes:
    """Return the segments of an XMP packet; the part beyond one segment becomes extended XMP."""
    if packet is None:
        return b""
    if len(XMP) + len(packet) <= _MAX_PAYLOAD:
        return build_segment(APP1, XMP, packet)
    guid = hashlib.md5(packet, usedforsecurity=False).hexdigest().upper().encode()
    most = _MAX_PAYLOAD - len(EXTENDED_XMP) - _EXTENSION_HEAD
    parts = [
        build_segment(
            APP1,
            EXTENDED_XMP + guid + struct.pack(">II", len(packet), at),
            packet[at : at + most],
        )
        for at in range(0, len(packet), most)
    ]
    return build_segment(APP1, XMP, xmp.extension_note(guid.decode())) + b"".join(parts)
