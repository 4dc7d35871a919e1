"""JPEG 2000 strips and tiles of a TIFF.

Codestreams: ISO/IEC 15444-1 annex A. The compressions have no common specification: 33003 and 33005
are Aperio's, 33004 is that of libvips and Bio-Formats, 34712 Adobe's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from tifffile import COMPRESSION, PHOTOMETRIC, TiffPage

from app.imaging.raster import FormatError, Samples, split_rows

_YCBCR, _RGB = 33003, 33005
COMPRESSIONS = (_YCBCR, _RGB, COMPRESSION.JPEG_2000_LOSSY, COMPRESSION.JPEG2000)
PEAK_BYTES = 12  # for each sample: OpenJPEG computes with 32 bits, and a strip may be all there is
_ORIENTATION, _SOFTWARE = 274, 305
_CODESTREAM = b"\xff\x4f\xff\x51"  # SOC and SIZ
_MIN_SIZE = 48  # bytes of both markers and a SIZ segment of one component
_SECOND_COMPONENT = 41  # its offset in SIZ: bits, then distances across and down
_MAX_HEAD = 4096  # bytes up to the end of SIZ; boxes may come first


def check_codestreams(page: TiffPage) -> None:
    """Check that no strip or tile states a larger size than it has.

    Raises:
        FormatError: one does, or is not JPEG 2000.
    """
    most = (page.tilewidth or page.imagewidth, page.tilelength or page.rowsperstrip)
    for size in _sizes(page):
        # After the length and the profile of the segment.
        width, height, left, top = struct.unpack_from(">IIII", size, 4)
        if width - left > most[0] or height - top > most[1]:
            raise FormatError("a strip or tile of it states another size than the TIFF")


def _sizes(page: TiffPage) -> Iterator[bytes]:
    """Yield the SIZ segment, after its marker, of each strip or tile that is not empty."""
    file = page.parent.filehandle
    for offset, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        if length == 0:
            continue
        file.seek(offset)
        head = file.read(min(length, _MAX_HEAD))
        start = head.find(_CODESTREAM)
        if start < 0 or len(head) < start + _MIN_SIZE:
            raise FormatError("a strip or tile of it holds no JPEG 2000")
        yield head[start + len(_CODESTREAM) :]


def holds_ycbcr(page: TiffPage) -> bool:
    """Return whether decoded samples are YCbCr.

    libvips writes YCbCr with the compression 33004 and states RGB. Its files have an orientation
    and never name their software; those of Bio-Formats, which hold RGB, do.
    """
    if page.compression not in COMPRESSIONS or page.samplesperpixel < 3 or _is_subsampled(page):
        return False
    if page.photometric == PHOTOMETRIC.YCBCR or page.compression == _YCBCR:
        return True
    return bool(
        page.compression == COMPRESSION.JPEG_2000_LOSSY
        and page.samplesperpixel == 3
        and _ORIENTATION in page.tags
        and _SOFTWARE not in page.tags
    )


def _is_subsampled(page: TiffPage) -> bool:
    """Return whether the second component has fewer samples: imagecodecs makes RGB of these."""
    size = next(_sizes(page), b"")
    return len(size) > _SECOND_COMPONENT + 2 and size[_SECOND_COMPONENT + 1] > 1


def to_rgb(samples: Samples) -> Samples:
    """Convert full-range YCbCr to RGB by the matrix of ITU-R BT.601, as JPEG does."""
    full = np.iinfo(samples.dtype).max
    half = (full + 1) // 2
    rgb = np.empty_like(samples)
    for rows in split_rows(*samples.shape[:2]):
        luma, blue, red = np.moveaxis(samples[rows].astype(np.float32), 2, 0)
        blue, red = blue - half, red - half
        for channel, value in enumerate(
            (luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue)
        ):
            rgb[rows, :, channel] = np.rint(np.clip(value, 0, full))
    return rgb
