"""Sheets of images: a row for each photograph, a column for each way to treat it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

GAP, HEADING = 6, 28  # pixels


def draw_sheet(rows: list[dict[str, NDArray[np.uint8]]], tile: tuple[int, int]) -> Image.Image:
    """Draw images (H, W, 3) under the names of their columns.

    Args:
        rows: the images by their columns, which are the same in all rows.
        tile: width and height that images are reduced or enlarged to, with white at the sides.
    """
    columns = list(rows[0])
    across, down = tile[0] + GAP, tile[1] + GAP
    size = (len(columns) * across - GAP, HEADING + len(rows) * down)
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=17)
    for column, name in enumerate(columns):
        middle = (column * across + tile[0] / 2, HEADING / 2)
        draw.text(middle, name, "black", font, anchor="mm")
        for row, images in enumerate(rows):
            fitted = ImageOps.pad(Image.fromarray(images[name]), tile, color="white")
            sheet.paste(fitted, (column * across, HEADING + row * down))
    return sheet
