"""JPEGs of any size with the detail of real photographs.

An enlarged photograph is smooth, and its JPEG a third as large as that of a camera. So the test
photographs are placed side by side at their own scale, which gives 0.3 to 0.4 bytes per pixel at
quality 90, as phones write.
"""

from __future__ import annotations

from functools import cache
from io import BytesIO
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PHOTOS = Path(__file__).parent.parent / "tests" / "photos"
SIZES = {  # megapixels -> width, height
    0.3: (640, 480),
    1: (1152, 864),
    3: (2000, 1500),
    12: (4000, 3000),
    24: (6000, 4000),
    48: (8000, 6000),
}
QUALITY = 90


@cache
def make_mosaic(width: int, height: int) -> NDArray[np.uint8]:
    """Place photographs side by side: (height, width, 3)."""
    photos = cycle(np.asarray(Image.open(path)) for path in sorted(PHOTOS.glob("*.jpg")))
    canvas = np.empty((height, width, 3), np.uint8)
    top = 0
    while top < height:
        left, lowest = 0, height
        while left < width:
            photo = next(photos)[: height - top, : width - left]
            canvas[top : top + photo.shape[0], left : left + photo.shape[1]] = photo
            left, lowest = left + photo.shape[1], min(lowest, top + photo.shape[0])
        top = lowest
    return canvas


@cache
def make_jpeg(megapixels: float) -> bytes:
    """Make a JPEG 4:2:0 of one of `SIZES`."""
    target = BytesIO()
    image = Image.fromarray(make_mosaic(*SIZES[megapixels]))
    image.save(target, "JPEG", quality=QUALITY, subsampling="4:2:0")
    return target.getvalue()
