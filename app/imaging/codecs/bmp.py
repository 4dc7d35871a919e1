"""BMP, read only, through Pillow."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL.BmpImagePlugin import BmpImageFile

from app.errors import NotAnImage
from app.imaging.codecs.base import Codec
from app.imaging.raster import Header, Raster, to_raster

_HEADER_SIZES = (12, 40, 52, 56, 64, 108, 124)
_RUN_LENGTH_CODED = (1, 2)  # BI_RLE8, BI_RLE4


def read_header(body: bytes) -> Header:
    """Read the file and info headers.

    Raises:
        NotAnImage: it is run-length coded. Pillow expands that in Python, pixel by pixel, and
            a few bytes would keep a core busy for minutes.
    """
    image = BmpImageFile(BytesIO(body))
    if image.info["compression"] in _RUN_LENGTH_CODED:
        raise NotAnImage("A run-length coded BMP is not read here.")
    return Header(width=image.width, height=image.height, channels=4)


def decode(body: bytes) -> Raster:
    """Decode; palettes are looked up."""
    image = BmpImageFile(BytesIO(body))
    mode = {"1": "L", "P": "RGB"}.get(image.mode, image.mode)
    return to_raster(np.array(image.convert(mode)))


def matches(head: bytes) -> bool:
    """Tell a BMP by its signature and the size of its info header."""
    return head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _HEADER_SIZES


CODEC = Codec(
    name="bmp",
    media_type="image/bmp",
    suffixes=(".bmp",),
    matches=matches,
    read_header=read_header,
    decode=decode,
)
