"""The colour encoding of video: matrix and range as the stream states them; HDR is rejected.

Sources: ITU-T H.273, tables 2 to 4, for the code points; ITU-R BT.601, BT.709 and BT.2020 for the
matrices. The transfer functions of SDR video differ little on a display, so R'G'B' values are
used as those of a photograph, as programs do that save a frame as an image.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.errors import BadVideo

UNSPECIFIED = 2
FULL_RANGE = 2  # AVCOL_RANGE_JPEG
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
        red: Kr, the weight of red in luma.
        blue: Kb, the weight of blue.
        full_range: whether luma takes all levels, instead of 16..235 of 255.
    """

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
    if matrix in {0, UNSPECIFIED}:  # 0 is RGB, which is converted to the matrix of its size
        width, height = size
        matrix = 1 if height >= HD_HEIGHT or width >= HD_WIDTH else 6
    if matrix not in _MATRICES:
        raise BadVideo(f"its colour matrix (number {matrix} of H.273) is not supported")
    red, blue = _MATRICES[matrix]
    return ColourEncoding(red, blue, full_range=colour_range == FULL_RANGE or is_jpeg)
