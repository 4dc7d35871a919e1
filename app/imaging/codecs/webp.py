"""WebP: Pillow reads and writes the container, libwebp decodes straight into numpy."""

from __future__ import annotations

from io import BytesIO

import imagecodecs
from PIL import Image
from PIL.WebPImagePlugin import WebPImageFile

from app.imaging.codecs.base import Codec
from app.imaging.metadata import read_orientation
from app.imaging.raster import EncodeSettings, Header, Metadata, Raster, Samples, to_raster

METHOD = 2  # 0 fastest .. 6 smallest: 3 takes twice as long for 2 % smaller files


def read_header(body: bytes) -> Header:
    """Parse the RIFF container."""
    image = WebPImageFile(BytesIO(body))
    metadata = Metadata(image.info.get("exif"), image.info.get("xmp"))
    return Header(
        width=image.width,
        height=image.height,
        channels=4,
        frames=image.n_frames,
        orientation=read_orientation(metadata),
        profile=image.info.get("icc_profile"),
        metadata=metadata,
    )


def decode(body: bytes) -> Raster:
    """Decode the only frame."""
    return to_raster(imagecodecs.webp_decode(body))


def encode(samples: Samples, settings: EncodeSettings) -> bytes:
    """Encode (H, W, 3 | 4), lossy."""
    target = BytesIO()
    Image.fromarray(samples).save(
        target,
        "WEBP",
        quality=settings.quality,
        method=METHOD,
        exact=True,  # colours under full transparency stay what they were
        icc_profile=settings.profile,
        exif=settings.metadata.exif or b"",
        xmp=settings.metadata.xmp or b"",
    )
    return target.getvalue()


CODEC = Codec(
    name="webp",
    media_type="image/webp",
    suffixes=(".webp",),
    matches=lambda head: head.startswith(b"RIFF") and head[8:12] == b"WEBP",
    read_header=read_header,
    decode=decode,
    encode=encode,
    default_quality=85,
    max_side=16_383,
    cost=2,
    encode_bytes=(22, 33),
)
