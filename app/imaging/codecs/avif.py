"""AVIF: Pillow reads and writes the container, libavif decodes straight into numpy.

Box layouts: ISO/IEC 14496-12 (ISOBMFF), 23000-22 (MIAF) and the AV1 codec mapping.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO

import imagecodecs
import numpy as np
from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile

from app.imaging.codecs import avif_sequence, video_headers
from app.imaging.codecs.base import AnimationCodec, ImageCodec
from app.imaging.codecs.bmff import (
    Properties,
    check_boxes,
    clean_aperture,
    find_box,
    ftyp_brands,
    primary_properties,
    read_boxes,
    read_orientation,
    read_pixel_aspect,
    repair,
)
from app.imaging.codecs.bmff_items import check_image, read_coded, read_metadata
from app.imaging.colour import cicp_profile
from app.imaging.exif import remove_orientation
from app.imaging.hdr import read_hdr_coding
from app.imaging.raster import (
    Crop,
    EncodeSettings,
    FormatError,
    Header,
    Raster,
    Samples,
    scale_to_16bit,
    to_raster,
)

_BRANDS = frozenset({b"avif", b"avis"})
_ITEMS = frozenset({b"av01", b"grid"})
_HIGH_BIT_DEPTH, _TWELVE_BIT = 0x40, 0x20  # in the AV1 codec configuration record
SPEED = 9  # 0 smallest .. 10 fastest: 8 takes three times as long for 5 % smaller files


def read_header(body: bytes) -> Header:
    """Parse the container.

    Raises:
        NotAnImage: its image is coded in another way than by AV1.
        FormatError: a part of the image is missing, or there are too many.
    """
    check_boxes(body)
    check_image(body, "An AVIF", _ITEMS)
    metadata = read_metadata(body)
    body = repair(body)
    image = AvifImageFile(BytesIO(body))
    profile = image.info.get("icc_profile")
    code_points = _code_points(body)
    properties = primary_properties(body)
    bits, frames = _bits(body), image.n_frames
    hdr = None if profile else read_hdr_coding(*code_points)
    animation = None
    if frames > 1 and bits == 8 and hdr is None:  # frames are decoded to 8 bits
        with suppress(FormatError, struct.error, IndexError):
            animation = avif_sequence.read_animation(body, frames)
    return Header(
        width=image.width,
        height=image.height,
        channels=4,
        bits=bits,
        frames=1 if animation else frames,
        animation=animation,
        orientation=read_orientation(properties),  # EXIF has no effect
        crop=_crop(properties, image.width, image.height),
        pixel_aspect=read_pixel_aspect(properties),
        profile=profile or cicp_profile(*code_points),
        hdr=hdr,
        metadata=metadata,
    )


def decode(body: bytes) -> Raster:
    """Decode the only frame, or the first one; 10 and 12 bits become 16."""
    samples = imagecodecs.avif_decode(repair(body), index=0, numthreads=1)
    return to_raster(samples if samples.dtype == np.uint8 else scale_to_16bit(samples, _bits(body)))


def encode(samples: Samples, settings: EncodeSettings) -> bytes:
    """Encode (H, W, 3 | 4), lossy, on one thread."""
    target = BytesIO()
    Image.fromarray(samples).save(
        target,
        "AVIF",
        quality=settings.quality,
        speed=SPEED,
        max_threads=1,
        icc_profile=settings.profile,
        # Pillow rewrites a block that has the tag, and drops unknown tags.
        exif=remove_orientation(settings.metadata.exif) or b"",
        xmp=settings.metadata.xmp or b"",
    )
    return target.getvalue()


def _code_points(body: bytes) -> tuple[int, int]:
    """Return primaries and transfer characteristics, of the container or else of the image."""
    for kind, payload in _properties(body):
        if kind == b"colr" and payload[:4] == b"nclx":
            primaries, transfer = struct.unpack_from(">HH", payload, 4)
            return primaries, transfer
    with suppress(FormatError):
        return video_headers.read_av1_colours(read_coded(body))
    return video_headers.UNSPECIFIED


def _crop(properties: Properties, width: int, height: int) -> Crop | None:
    """Return the part that the clap property shows, which libavif does not apply."""
    clap = dict(properties).get(b"clap")
    return clean_aperture(clap, width, height) if clap else None


def _bits(body: bytes) -> int:
    flags = next((payload[2] for kind, payload in _properties(body) if kind == b"av1C"), 0)
    if flags & _HIGH_BIT_DEPTH:
        return 12 if flags & _TWELVE_BIT else 10
    return 8


def _properties(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Return the item properties in file order; the primary image's come first in practice."""
    meta = find_box(body, b"meta")[4:]  # a full box: version and flags
    return read_boxes(find_box(find_box(meta, b"iprp"), b"ipco"))


CODEC = ImageCodec(
    name="avif",
    media_type="image/avif",
    suffixes=(".avif",),
    matches=lambda head: not _BRANDS.isdisjoint(ftyp_brands(head)),
    read_header=read_header,
    decode=decode,
    animation=AnimationCodec(read=avif_sequence.read, write=avif_sequence.write),
    encode=encode,
    default_quality=75,
    max_side=32_768,
    cost=5,
)
