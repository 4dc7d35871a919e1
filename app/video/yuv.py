"""Conversion between planes of Y'CbCr and interleaved RGB, in compiled integer arithmetic.

Chroma is repeated for the pixels that share it, and averaged on the way back. A frame that no
look changes thus keeps its chroma within a level, wherever the chroma samples lie. Interpolation
would blur it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.jit import jit
from app.video.colour import ColourEncoding

Planes: TypeAlias = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
"""Y (H, W), Cb and Cr (H >> v, W >> h, rounded up), uint8 or uint16."""


@dataclass(frozen=True)
class PlaneLayout:
    """The layout of planes.

    Attributes:
        bits: of a sample, 8..16.
        horizontal: 1 if two pixels beside each other share a chroma sample, else 0.
        vertical: 1 if two pixels above each other share a chroma sample, else 0.
    """

    bits: int
    horizontal: int
    vertical: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of a sample, and of the RGB values."""
        return np.dtype(np.uint8 if self.bits == 8 else np.uint16)


class YuvConverter:
    """Converts between planes of a layout and RGB (H, W, 3): uint8, or uint16 above 8 bits."""

    def __init__(self, layout: PlaneLayout, encoding: ColourEncoding) -> None:
        """Compute the integer coefficients of both directions."""
        self.layout = layout
        self._to_rgb = _decoding_coefficients(layout, encoding)
        self._to_yuv = _encoding_coefficients(layout, encoding)

    def to_rgb(self, planes: Planes) -> NDArray[Any]:
        """Convert planes to RGB, rounded and clamped."""
        luma, cb, cr = planes
        rgb = np.empty((*luma.shape, 3), self.layout.dtype)
        shift = self.layout.horizontal, self.layout.vertical
        _rows_to_rgb(luma, cb, cr, *shift, self._to_rgb, rgb)
        return rgb

    def to_planes(self, rgb: NDArray[Any], planes: Planes) -> None:
        """Convert RGB to planes, which are overwritten."""
        luma, cb, cr = planes
        shift = self.layout.horizontal, self.layout.vertical
        _rows_to_yuv(rgb, *shift, self._to_yuv, luma, cb, cr)

    def split(self, planes: Planes, rows: int) -> list[Planes]:
        """Cut planes into strips of about `rows` rows of luma; views, not copies."""
        luma, cb, cr = planes
        shift = self.layout.vertical
        step = max(1, rows >> shift)
        return [
            (
                luma[top << shift : (top + step) << shift],
                cb[top : top + step],
                cr[top : top + step],
            )
            for top in range(0, len(cb), step)
        ]


def _decoding_coefficients(layout: PlaneLayout, encoding: ColourEncoding) -> NDArray[np.int32]:
    """Compute offset and scale of luma, offset of chroma, four factors, shift and highest level."""
    top = np.iinfo(layout.dtype).max
    offset, luma, chroma = _ranges(layout, encoding)
    red, blue = encoding.red, encoding.blue
    green = 1 - red - blue
    shift = 29 - int(top).bit_length() - 1  # sums reach about twice the highest level
    one = (1 << shift) * top
    factors = (
        2 * (1 - red) / chroma,  # Cr in red
        -2 * (1 - blue) * blue / green / chroma,  # Cb in green
        -2 * (1 - red) * red / green / chroma,  # Cr in green
        2 * (1 - blue) / chroma,  # Cb in blue
    )
    middle = 1 << (layout.bits - 1)
    values = [offset, one / luma, middle, *(one * factor for factor in factors), shift, top]
    return np.rint(values).astype(np.int32)


def _encoding_coefficients(layout: PlaneLayout, encoding: ColourEncoding) -> NDArray[np.int32]:
    """Compute the factors of R, G, B, the offset and the shift, of luma and of Cb and Cr."""
    top = np.iinfo(layout.dtype).max
    offset, luma, chroma = _ranges(layout, encoding)
    red, blue = encoding.red, encoding.blue
    green = 1 - red - blue
    shift = 30 - layout.bits
    one = (1 << shift) / top
    shared = layout.horizontal + layout.vertical  # sums of 1, 2 or 4 pixels
    part = one / (1 << shared)
    middle = 1 << (layout.bits - 1)
    highest = (1 << layout.bits) - 1
    values = [
        *(one * luma * weight for weight in (red, green, blue)),
        (offset + 0.5) * (1 << shift),
        shift,
        *(part * chroma * w / 2 / (1 - blue) for w in (-red, -green, 1 - blue)),
        *(part * chroma * w / 2 / (1 - red) for w in (1 - red, -green, -blue)),
        (middle + 0.5) * (1 << shift),
        shift,
        highest,
    ]
    return np.rint(values).astype(np.int32)


def _ranges(layout: PlaneLayout, encoding: ColourEncoding) -> tuple[int, int, int]:
    """Return the level of black, and the numbers of levels of luma and of chroma."""
    if encoding.full_range:
        levels = (1 << layout.bits) - 1
        return 0, levels, levels
    unit = 1 << (layout.bits - 8)
    return 16 * unit, 219 * unit, 224 * unit


@jit
def _rows_to_rgb(
    luma: NDArray[Any],
    cb: NDArray[Any],
    cr: NDArray[Any],
    horizontal: int,
    vertical: int,
    coefficients: NDArray[np.int32],
    rgb: NDArray[Any],
) -> None:
    height, width = luma.shape
    black, scale, middle = coefficients[0], coefficients[1], coefficients[2]
    cr_red, cb_green, cr_green = coefficients[3], coefficients[4], coefficients[5]
    cb_blue, shift, top = coefficients[6], coefficients[7], coefficients[8]
    zero, half = np.int32(0), np.int32(1) << (shift - np.int32(1))
    # What chroma adds to a row, for the rows that share it.
    red = np.empty(width, np.int32)
    green = np.empty(width, np.int32)
    blue = np.empty(width, np.int32)
    for i in range(cb.shape[0]):
        blues, reds = cb[i], cr[i]
        for j in range(width):
            b = np.int32(blues[j >> horizontal]) - middle
            r = np.int32(reds[j >> horizontal]) - middle
            red[j] = cr_red * r + half
            green[j] = cb_green * b + cr_green * r + half
            blue[j] = cb_blue * b + half
        for k in range(i << vertical, min((i + 1) << vertical, height)):
            row, out = luma[k], rgb[k]
            for j in range(width):
                y = scale * (np.int32(row[j]) - black)
                out[j, 0] = min(max((y + red[j]) >> shift, zero), top)
                out[j, 1] = min(max((y + green[j]) >> shift, zero), top)
                out[j, 2] = min(max((y + blue[j]) >> shift, zero), top)


@jit
def _rows_to_yuv(
    rgb: NDArray[Any],
    horizontal: int,
    vertical: int,
    coefficients: NDArray[np.int32],
    luma: NDArray[Any],
    cb: NDArray[Any],
    cr: NDArray[Any],
) -> None:
    height, width = luma.shape
    c = coefficients  # in variables, since the compiler would load entries again for each pixel
    y_red, y_green, y_blue, y_offset, y_shift = c[0], c[1], c[2], c[3], c[4]
    cb_red, cb_green, cb_blue, cr_red, cr_green, cr_blue = c[5], c[6], c[7], c[8], c[9], c[10]
    offset, shift, highest = c[11], c[12], c[13]
    sums = np.empty((width + 1, 3), np.int32)  # of the rows that share chroma
    flat = sums.ravel()
    for i in range(cb.shape[0]):
        first = i << vertical
        last = min(first + vertical, height - 1)
        for k in range(first, last + 1):
            row, out = rgb[k], luma[k]
            for j in range(width):
                r, g, b = np.int32(row[j, 0]), np.int32(row[j, 1]), np.int32(row[j, 2])
                out[j] = (y_red * r + y_green * g + y_blue * b + y_offset) >> y_shift
        upper, lower = rgb[first].ravel(), rgb[last].ravel()
        if vertical:
            for j in range(3 * width):
                flat[j] = np.int32(upper[j]) + np.int32(lower[j])
        else:
            for j in range(3 * width):
                flat[j] = np.int32(upper[j])
        sums[width] = sums[width - 1]
        for j in range(cb.shape[1]):
            if horizontal:
                r = sums[2 * j, 0] + sums[2 * j + 1, 0]
                g = sums[2 * j, 1] + sums[2 * j + 1, 1]
                b = sums[2 * j, 2] + sums[2 * j + 1, 2]
            else:
                r, g, b = sums[j, 0], sums[j, 1], sums[j, 2]
            # Full-range chroma of a saturated colour would round to one level too many.
            cb[i, j] = min((cb_red * r + cb_green * g + cb_blue * b + offset) >> shift, highest)
            cr[i, j] = min((cr_red * r + cr_green * g + cr_blue * b + offset) >> shift, highest)
