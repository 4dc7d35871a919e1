"""JPEG: the segments by hand, the pixels by libjpeg-turbo straight into numpy.

Segments: ITU-T T.81, annex B; their uses: Exif 3.0 section 4.5.4, XMP part 3, ICC.1 annex B.4.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from io import BytesIO

import numpy as np
import simplejpeg
from PIL.JpegImagePlugin import JpegImageFile

from app.imaging.codecs.base import Codec
from app.imaging.exif import read_orientation
from app.imaging.raster import (
    ColourSpace,
    EncodeSettings,
    FormatError,
    Header,
    Metadata,
    Raster,
    Samples,
)

_APP1, _APP2, _SCAN = 0xE1, 0xE2, 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # DHT, JPG and DAC are no frames
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # TEM, RST0..7 and SOI have no length
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_ICC = b"ICC_PROFILE\0"
_MAX_SCANS = 100  # ordinary files have about 10
_ORDINARY_SCANS = 12
_MAX_SCANNED_PIXELS = 400_000_000  # scans x pixels; each scan costs a pass over all coefficients
_MAX_SEGMENTS = 10_000  # before the scan; the longest metadata take some hundred
_MAX_PAYLOAD = 0xFFFF - 2  # the length field counts itself

_MARKER = re.compile(rb"\xff([^\x00\xff])")  # not a stuffed byte, nor padding

_SPACES: dict[int, ColourSpace] = {1: "gray", 3: "rgb", 4: "cmyk"}
_COLORSPACES = {"gray": "GRAY", "rgb": "RGB", "cmyk": "CMYK"}
_SUBSAMPLINGS = {0x11: "444", 0x21: "422", 0x22: "420", 0x12: "440", 0x41: "411"}


def read_header(body: bytes) -> Header:
    """Read the segments up to the first scan; of an MPO they are the primary image's."""
    segments = list(_segments(body))
    frame = _frame(segments)
    components = frame[5]
    width, height = _decoded_size(body)
    _check_scans(segments, body, width * height)
    exif = _payload(segments, _APP1, _EXIF)
    return Header(
        width=width,
        height=height,
        channels=components,
        orientation=read_orientation(exif),
        profile=_profile(segments),
        metadata=Metadata(exif, _payload(segments, _APP1, _XMP)),
        subsampling=_SUBSAMPLINGS.get(frame[7]) if components == 3 else None,
    )


def _without_exif(body: bytes) -> bytes:
    """Rename the EXIF segment: Pillow warns about a malformed one, and nobody needs it here."""
    return body.replace(_EXIF, b"Skip\0\0", 1)


def _decoded_size(body: bytes) -> tuple[int, int]:
    """Return width and height as the decoder itself reads them.

    A segment loop of our own could be led to another frame header than the decoder's.
    """
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(body, strict=False)
    except FormatError:  # as in `decode_reduced`
        return JpegImageFile(BytesIO(_without_exif(body))).size
    return width, height


def decode(body: bytes) -> Raster:
    """Decode at full size."""
    return decode_reduced(body, 0)


def decode_reduced(body: bytes, side: int) -> Raster:
    """Decode at the smallest scale of the DCT that leaves both sides at least `side` pixels."""
    space = _SPACES[_frame(_segments(body))[5]]
    try:
        samples = simplejpeg.decode_jpeg(body, _COLORSPACES[space], min_height=side, min_width=side)
    except ValueError:
        # libjpeg-turbo was strict about something harmless, or its simple interface does not
        # know the subsampling. Pillow is lenient there, but refuses what is cut short.
        image = JpegImageFile(BytesIO(_without_exif(body)))
        if side:
            image.draft(image.mode, (side, side))
        return Raster(np.array(image).reshape(image.height, image.width, -1), space)
    return Raster(255 - samples if space == "cmyk" else samples, space)  # files hold ~ink


def encode(samples: Samples, settings: EncodeSettings) -> bytes:
    """Encode (H, W, 3) RGB; EXIF or XMP that exceed a segment (64 KB) are left out."""
    jpeg = simplejpeg.encode_jpeg(samples, settings.quality, "RGB", settings.subsampling)
    metadata = settings.metadata
    (jfif_length,) = struct.unpack_from(">H", jpeg, 4)
    split = 4 + jfif_length  # SOI and JFIF's APP0 come first, as every reader expects
    segments = (
        _segment(_APP1, _EXIF, metadata.exif),
        _segment(_APP1, _XMP, metadata.xmp),
        _segment(_APP2, _ICC + b"\1\1", settings.profile),
    )
    return b"".join((jpeg[:split], *segments, jpeg[split:]))


def _segment(marker: int, signature: bytes, payload: bytes | None) -> bytes:
    if not payload or len(signature) + len(payload) > _MAX_PAYLOAD:
        return b""
    length = 2 + len(signature) + len(payload)
    return struct.pack(">BBH", 0xFF, marker, length) + signature + payload


def _check_scans(segments: list[tuple[int, bytes]], body: bytes, pixels: int) -> None:
    """Raise FormatError for a progressive file whose scans would take many times its size."""
    (frame_marker, frame), (_, scan) = _frame_of(segments), segments[-1]
    if frame_marker not in _PROGRESSIVE and scan[:1] == frame[5:6]:
        return  # all components are in the first scan, and libjpeg reads no other
    scans = body.count(b"\xff\xda")  # entropy-coded data cannot hold this marker
    most = min(_MAX_SCANS, max(_ORDINARY_SCANS, _MAX_SCANNED_PIXELS // max(1, pixels)))
    if scans > most:
        raise FormatError(f"it has {scans} scans; {most} are accepted at its size")


def _segments(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and payload of each segment, the first scan's header last; stray bytes are skipped."""
    position = 2
    for _ in range(_MAX_SEGMENTS):
        found = _MARKER.search(body, position)
        if found is None:
            return
        if found[1][0] in _STANDALONE:
            position = found.end()
            continue
        (length,) = struct.unpack_from(">H", body, found.end())
        position = found.end() + max(length, 2)
        yield found[1][0], body[found.end() + 2 : position]
        if found[1][0] == _SCAN:
            return
    raise FormatError(f"it has more than {_MAX_SEGMENTS} segments")


def _frame(segments: Iterable[tuple[int, bytes]]) -> bytes:
    """The frame header: precision, height, width, components, and three bytes for each."""
    return _frame_of(segments)[1]


def _frame_of(segments: Iterable[tuple[int, bytes]]) -> tuple[int, bytes]:
    for marker, payload in segments:
        if marker in _FRAMES:
            return marker, payload
    raise FormatError("it has no frame")


def _payload(segments: list[tuple[int, bytes]], marker: int, signature: bytes) -> bytes | None:
    """What follows a signature, in as many segments as it takes."""
    parts = [
        payload[len(signature) :]
        for kind, payload in segments
        if kind == marker and payload.startswith(signature)
    ]
    return b"".join(parts) or None


def _profile(segments: list[tuple[int, bytes]]) -> bytes | None:
    parts = sorted(
        payload[len(_ICC) :]
        for marker, payload in segments
        if marker == _APP2 and payload.startswith(_ICC)
    )
    return b"".join(part[2:] for part in parts) or None  # after its number and their count


CODEC = Codec(
    name="jpeg",
    media_type="image/jpeg",
    suffixes=(".jpg", ".jpeg"),
    matches=lambda head: head.startswith(b"\xff\xd8\xff"),
    read_header=read_header,
    decode=decode,
    decode_reduced=decode_reduced,
    encode=encode,
    has_alpha=False,
    default_quality=90,
    max_side=65_500,
    cost=1,
    trusted=True,
)
