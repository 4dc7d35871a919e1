"""BMP, read only, through Pillow."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL.BmpImagePlugin import BmpImageFile

from app.errors import NotAnImage
from app.imaging.types import Header, Raster, to_raster

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
    return Header(width=image.width, height=image.height)


def decode(body: bytes) -> Raster:
    """Decode; palettes are looked up."""
    image = BmpImageFile(BytesIO(body))
    mode = {"1": "L", "P": "RGB"}.get(image.mode, image.mode)
    return to_raster(np.array(image.convert(mode)))
