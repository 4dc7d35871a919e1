"""Y'CbCr: how a stream encodes colours, its planes, and their conversion to interleaved RGB.

HDR is rejected. The transfer functions of SDR video differ little on a display, so R'G'B' values
are used as those of a photograph, as programs do that save a frame as an image. Chroma is repeated
for the pixels that share it.

Sources: ITU-T H.273, tables 2 to 4, for the code points; ITU-R BT.601, BT.709 and BT.2020 for the
matrices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.errors import BadVideo
from app.jit import jit

RGB, UNSPECIFIED = 0, 2  # of MatrixCoefficients
FULL_RANGE = 2  # AVCOL_RANGE_JPEG
FIELD_ROWS = 4  # of a frame, that a row of chroma in each of its two fields takes
HD_HEIGHT, HD_WIDTH = 577, 1280  # from here, video without a stated matrix is BT.709

# (Kr, Kb) of each code point of MatrixCoefficients.
_MATRICES = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601, 625 lines
    6: (0.299, 0.114),  # BT.601, 525 lines
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020, non-constant luminance
}
_REJECTED_TRANSFERS = {
    8: "linear light",
    9: "logarithmic",
    10: "logarithmic",
    16: "HDR (PQ, SMPTE ST 2084)",
    17: "SMPTE ST 428-1",
    18: "HDR (HLG, ARIB STD-B67)",
}


@dataclass(frozen=True)
class ColourEncoding:
    """How Y'CbCr planes encode R'G'B'.

    Attributes:
        matrix: MatrixCoefficients of H.273.
        red: Kr, the weight of red in luma.
        blue: Kb, the weight of blue.
        full_range: whether luma takes all levels, instead of 16..235 of 255.
    """

    matrix: int
    red: float
    blue: float
    full_range: bool


def read_encoding(
    *, matrix: int, transfer: int, colour_range: int, size: tuple[int, int], is_jpeg: bool
) -> ColourEncoding:
    """Return the encoding that the code points of a stream describe.

    A matrix that is not stated is BT.709 for HD and BT.601 below, as players assume. A range
    that is not stated is limited, except for the pixel formats of JPEG.

    Args:
        matrix: MatrixCoefficients of H.273.
        transfer: TransferCharacteristics of H.273.
        colour_range: 1 for limited, 2 for full, 0 where it is not stated.
        size: (width, height) in pixels.
        is_jpeg: whether the pixel format implies the full range.

    Raises:
        BadVideo: the video is HDR, or its matrix or transfer function is not supported.
    """
    if transfer in _REJECTED_TRANSFERS:
        raise BadVideo(
            f"its transfer function is {_REJECTED_TRANSFERS[transfer]}; looks are made for SDR: "
            "convert it to BT.709 first"
        )
    if matrix in {RGB, UNSPECIFIED}:  # RGB is converted to the matrix of its size
        width, height = size
        matrix = 1 if height >= HD_HEIGHT or width >= HD_WIDTH else 6
    if matrix not in _MATRICES:
        raise BadVideo(f"its colour matrix (number {matrix} of H.273) is not supported")
    red, blue = _MATRICES[matrix]
    return ColourEncoding(matrix, red, blue, full_range=colour_range == FULL_RANGE or is_jpeg)


Planes: TypeAlias = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
"""Y (H, W), Cb and Cr (H >> v, W >> h, rounded up), uint8 or uint16."""


@dataclass(frozen=True)
class PlaneLayout:
    """The layout of planes.

    Attributes:
        bits: of a sample, 8..12.
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

    def split(self, planes: Planes, rows: int) -> list[Planes]:
        """Cut planes into strips of about `rows` rows of luma; views, not copies."""
        luma, cb, cr = planes
        shift = self.vertical
        step = max(1, rows >> shift)
        return [
            (
                luma[top << shift : (top + step) << shift],
                cb[top : top + step],
                cr[top : top + step],
            )
            for top in range(0, len(cb), step)
        ]


def split_fields(planes: Planes) -> list[Planes]:
    """Return the upper and the lower field of interlaced planes; views, not copies.

    The lines of a field share chroma, not those of both. The height must be a multiple of
    `FIELD_ROWS`.
    """
    luma, cb, cr = planes
    return [(luma[field::2], cb[field::2], cr[field::2]) for field in (0, 1)]


class YuvConverter:
    """Converts planes of a layout to RGB (H, W, 3): uint8, or uint16 above 8 bits."""

    def __init__(self, layout: PlaneLayout, encoding: ColourEncoding) -> None:
        """Compute the integer coefficients."""
        self.layout = layout
        self._to_rgb = _decoding_coefficients(layout, encoding)

    def to_rgb(self, planes: Planes) -> NDArray[Any]:
        """Convert planes to RGB, rounded and clamped."""
        luma, cb, cr = planes
        rgb = np.empty((*luma.shape, 3), self.layout.dtype)
        shift = self.layout.horizontal, self.layout.vertical
        _rows_to_rgb(luma, cb, cr, *shift, self._to_rgb, rgb)
        return rgb


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


def luma_chroma_matrix(
    layout: PlaneLayout, encoding: ColourEncoding
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the matrix (3, 3) and the offset (3,) from RGB in 0..1 to levels of Y, Cb and Cr."""
    black, luma, chroma = _ranges(layout, encoding)
    red, blue = encoding.red, encoding.blue
    weights = np.array([red, 1 - red - blue, blue])
    cb = chroma / 2 / (1 - blue) * (np.array([0, 0, 1]) - weights)
    cr = chroma / 2 / (1 - red) * (np.array([1, 0, 0]) - weights)
    middle = 1 << (layout.bits - 1)
    return np.stack((luma * weights, cb, cr)), np.array([black, middle, middle], np.float64)


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
    # The part of a row that chroma adds, for the rows that share it.
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
