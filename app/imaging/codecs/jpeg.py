"""JPEG: libjpeg-turbo straight into numpy for the pixels.

Frames and component sampling: ITU-T T.81, annexes A and B.
"""

from __future__ import annotations

import struct
from io import BytesIO

import imagecodecs
import numpy as np
import simplejpeg
from PIL.JpegImagePlugin import JpegImageFile

from app.errors import NotAnImage
from app.imaging.codecs import gain_map, jpeg_segments
from app.imaging.codecs.base import ImageCodec
from app.imaging.codecs.jpeg_segments import APP1, APP2, EOI, EXIF, ICC, SOS, Segment
from app.imaging.metadata import read_orientation
from app.imaging.raster import (
    ColourSpace,
    EncodeSettings,
    FormatError,
    Header,
    Metadata,
    Raster,
    Samples,
    scale_to_16bit,
)

_BASELINE, _EXTENDED, _PROGRESSIVE = 0xC0, 0xC1, 0xC2
_ARITHMETIC, _ARITHMETIC_PROGRESSIVE = 0xC9, 0xCA
_READ = frozenset({_BASELINE, _EXTENDED, _PROGRESSIVE, _ARITHMETIC, _ARITHMETIC_PROGRESSIVE})
_SEVERAL_SCANS = frozenset({_PROGRESSIVE, _ARITHMETIC_PROGRESSIVE})
_EOI = b"\xff\xd9"
_FURTHER = 4096  # bytes

_SPACES: dict[int, ColourSpace] = {1: "gray", 3: "rgb", 4: "cmyk"}
_COLORSPACES = {"gray": "GRAY", "rgb": "RGB", "cmyk": "CMYK"}
# By how many samples of luma there are for one of chroma, across and down.
_SUBSAMPLINGS = {(1, 1): "444", (2, 1): "422", (2, 2): "420", (1, 2): "440", (4, 1): "411"}


def read_header(body: bytes) -> Header:
    """Read the segments up to the first scan; of an MPO they are the primary image's.

    Raises:
        NotAnImage: its kind of coding is not read here.
    """
    segments = jpeg_segments.read_segments(body)
    frame = jpeg_segments.find_frame(segments)
    _check_kind(frame)
    width, height = _decoded_size(jpeg_segments.fill_in_height(body, segments))
    _check_scans(segments, body, width * height)
    metadata = Metadata(
        jpeg_segments.find_payload(segments, APP1, EXIF), jpeg_segments.read_xmp(segments)
    )
    return Header(
        width=width,
        height=height,
        channels=frame.payload[5],
        bits=frame.payload[0],
        orientation=read_orientation(metadata),
        profile=jpeg_segments.read_profile(segments),
        metadata=metadata,
        subsampling=_subsampling(frame),
        quality=jpeg_segments.estimate_quality(segments, frame),
    )


def decode(body: bytes) -> Raster:
    """Decode at full size; 12 bits become 16."""
    return decode_reduced(body, 0)


def decode_reduced(body: bytes, side: int) -> Raster:
    """Decode at the smallest scale of the DCT that leaves both sides at least `side` pixels.

    12 bits are decoded at full size.
    """
    segments = jpeg_segments.read_segments(body)
    frame = jpeg_segments.find_frame(segments).payload
    space = _SPACES[frame[5]]
    body = jpeg_segments.fill_in_height(body, segments)
    if frame[0] > 8:
        _check_end(body, segments)
        return _decode_12bit(body, frame)
    for end in (b"", _EOI):  # a file may lack nothing but the marker of its end
        try:
            samples = simplejpeg.decode_jpeg(
                body + end, _COLORSPACES[space], min_height=side, min_width=side
            )
        except (KeyError, ValueError):
            continue
        return Raster(255 - samples if space == "cmyk" else samples, space)  # inverted in files
    # libjpeg-turbo rejects some harmless faults, and its simple interface lacks some kinds of
    # subsampling; Pillow decodes both.
    _check_end(body, segments)
    return _decode_by_pillow(body + _EOI, space, side)


def _decode_by_pillow(body: bytes, space: ColourSpace, side: int) -> Raster:
    image = JpegImageFile(BytesIO(_without_exif(body)))
    if side:
        image.draft(image.mode, (side, side))
    return Raster(np.array(image).reshape(image.height, image.width, -1), space)


def _decode_12bit(body: bytes, frame: bytes) -> Raster:
    samples = imagecodecs.jpeg8_decode(body)
    return Raster(scale_to_16bit(np.atleast_3d(samples), frame[0]), _SPACES[frame[5]])


def _check_end(body: bytes, segments: list[Segment]) -> None:
    """Raise FormatError if a file without EOI lacks more: further data would change the pixels.

    imagecodecs fills the missing part without an error.
    """
    if any(it.marker == EOI for it in jpeg_segments.scans(body, segments)):
        return
    one, other = (imagecodecs.jpeg8_decode(body + it * _FURTHER + _EOI) for it in (b"", b"\x55"))
    if not np.array_equal(one, other):
        raise FormatError("it is cut short")


def decode_truncated(body: bytes, side: int) -> Raster:
    """Decode a file that is cut short, as `decode_reduced`; the missing part is gray."""
    segments = jpeg_segments.read_segments(body)
    frame = jpeg_segments.find_frame(segments).payload
    body = jpeg_segments.fill_in_height(body, segments)
    space = _SPACES[frame[5]]
    if frame[0] > 8:
        return _decode_12bit(body + _EOI, frame)
    try:
        samples = simplejpeg.decode_jpeg(
            body + _EOI, _COLORSPACES[space], min_height=side, min_width=side, strict=False
        )
    except (KeyError, ValueError):  # as in `decode_reduced`
        return _decode_by_pillow(body + _EOI, space, side)
    return Raster(255 - samples if space == "cmyk" else samples, space)


def encode(samples: Samples, settings: EncodeSettings) -> bytes:
    """Encode (H, W, 3) RGB; EXIF that exceeds a segment (64 KB) is left out."""
    jpeg = simplejpeg.encode_jpeg(samples, settings.quality, "RGB", settings.subsampling)
    metadata = settings.metadata
    (jfif_length,) = struct.unpack_from(">H", jpeg, 4)
    split = 4 + jfif_length  # SOI and JFIF's APP0 come first, as every reader expects
    packet, hdr = metadata.xmp, settings.gain_map
    segments = (
        jpeg_segments.build_segment(APP1, EXIF, metadata.exif),
        jpeg_segments.build_xmp(gain_map.describe(packet, hdr) if hdr else packet),
        gain_map.announce(hdr) if hdr else b"",
        jpeg_segments.build_segment(APP2, ICC + b"\1\1", settings.profile),
    )
    length = len(jpeg) + sum(map(len, segments))
    index = gain_map.build_index(length, split, hdr) if hdr else b""
    # The file is large, so it is copied but once.
    return b"".join((jpeg[:split], index, *segments, memoryview(jpeg)[split:], hdr or b""))


def _check_kind(frame: Segment) -> None:
    precision, components = frame.payload[0], frame.payload[5]
    if frame.marker == jpeg_segments.LS:
        raise NotAnImage("JPEG-LS is not supported.")
    if frame.marker not in _READ:
        raise NotAnImage("A lossless or hierarchical JPEG is not supported.")
    if components not in _SPACES:
        raise NotAnImage(f"A JPEG with {components} components is not supported.")
    if precision not in (8, 12) or (precision == 12 and components == 4):
        raise NotAnImage(
            f"A JPEG of {precision} bits and {components} components is not supported."
        )


def _decoded_size(body: bytes) -> tuple[int, int]:
    """Return width and height as the decoder itself reads them.

    A segment loop of our own could be led to another frame header than the decoder's.
    """
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(body, strict=False)
    except (KeyError, ValueError):  # as in `decode_reduced`
        return JpegImageFile(BytesIO(_without_exif(body))).size
    return width, height


def _without_exif(body: bytes) -> bytes:
    """Rename the EXIF segment, which is not needed here: Pillow warns about malformed ones."""
    return body.replace(EXIF, b"Skip\0\0", 1)


def _check_scans(segments: list[Segment], body: bytes, pixels: int) -> None:
    """Raise FormatError for a progressive file whose scans would take many times its size."""
    frame = jpeg_segments.find_frame(segments)
    if frame.marker not in _SEVERAL_SCANS and segments[-1].payload[:1] == frame.payload[5:6]:
        return  # all components are in the first scan, and libjpeg reads no other
    scans = 1 + sum(it.marker == SOS for it in jpeg_segments.scans(body, segments))
    jpeg_segments.check_scans(scans, pixels)


def _subsampling(frame: Segment) -> str | None:
    """Return the chroma subsampling, or the next finer one that can be written."""
    if frame.payload[5] != 3:
        return None
    luma, *chroma = ((frame.payload[at] >> 4, frame.payload[at] & 15) for at in (7, 10, 13))
    across, down = (
        max(1, luma[axis] // max(1, *(factors[axis] for factors in chroma))) for axis in (0, 1)
    )
    across, down = 1 << (across.bit_length() - 1), min(2, 1 << (down.bit_length() - 1))
    return _SUBSAMPLINGS.get((min(across, 4), down), _SUBSAMPLINGS[min(across, 2), down])


CODEC = ImageCodec(
    name="jpeg",
    media_type="image/jpeg",
    suffixes=(".jpg", ".jpeg"),
    matches=lambda head: head.startswith(b"\xff\xd8\xff"),
    read_header=read_header,
    decode=decode,
    decode_reduced=decode_reduced,
    decode_truncated=decode_truncated,
    read_gain_map=gain_map.read_gain_map,
    encode=encode,
    has_alpha=False,
    default_quality=90,
    max_side=65_500,
    cost=1,
    encode_bytes=(18, 22),
    trusted=True,
)
