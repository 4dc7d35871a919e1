"""Contact sheets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

_CELL = (360, 240)


def tile(pixels: NDArray[np.uint8]) -> Image.Image:
    """A photo (H, W, 3) in the size that it has on a sheet."""
    return ImageOps.contain(Image.fromarray(pixels), _CELL)


def contact_sheet(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Lays tiles out in rows."""
    width, height = _CELL
    sheet = Image.new("RGB", (width * len(rows[0]), height * len(rows)))
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            sheet.paste(image, (x * width, y * height))
    return sheet
