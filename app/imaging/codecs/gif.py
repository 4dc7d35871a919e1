"""GIF, read only and single frames only, through Pillow.

GIF89a specification: CompuServe, "Graphics Interchange Format, Version 89a", 1990.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL.GifImagePlugin import GifImageFile

from app.imaging.codecs.base import Codec
from app.imaging.raster import Header, Raster, to_raster


def read_header(body: bytes) -> Header:
    """Read the logical screen and look for a second frame."""
    image = GifImageFile(BytesIO(body))
    return Header(
        width=image.width, height=image.height, channels=4, frames=2 if image.is_animated else 1
    )


def decode(body: bytes) -> Raster:
    """Decode the only frame; its transparent colour becomes alpha."""
    image = GifImageFile(BytesIO(body))
    transparent = "transparency" in image.info or image.mode == "RGBA"
    return to_raster(np.array(image.convert("RGBA" if transparent else "RGB")))


CODEC = Codec(
    name="gif",
    media_type="image/gif",
    suffixes=(".gif",),
    matches=lambda head: head.startswith((b"GIF87a", b"GIF89a")),
    read_header=read_header,
    decode=decode,
)
