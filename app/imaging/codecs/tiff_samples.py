"""The samples of a TIFF page, of every kind that is read, as gray, RGB, CMYK or CIELAB.

Kinds of samples: TIFF 6.0; Adobe's TIFF technical notes for 16-bit CIELAB, ICCLAB and floats.
JPEG 2000 codestreams: ISO/IEC 15444-1 annex A.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC, PLANARCONFIG, TiffPage

from app.imaging.codecs.jpeg_segments import SOS, check_scans
from app.imaging.raster import (
    ColourSpace,
    FormatError,
    Raster,
    Samples,
    scale_to_16bit,
    split_rows,
    unmultiply,
)

SPACES: dict[int, ColourSpace] = {
    PHOTOMETRIC.MINISWHITE: "gray",
    PHOTOMETRIC.MINISBLACK: "gray",
    PHOTOMETRIC.RGB: "rgb",
    PHOTOMETRIC.PALETTE: "rgb",
    PHOTOMETRIC.YCBCR: "rgb",
    PHOTOMETRIC.SEPARATED: "cmyk",
    PHOTOMETRIC.CIELAB: "lab",
    PHOTOMETRIC.ICCLAB: "lab",
}
JPEG = (COMPRESSION.JPEG, COMPRESSION.OJPEG)
# The compressions of JPEG 2000 have no common specification: 33003 and 33005 are Aperio's, 33004 is
# that of libvips and Bio-Formats, 34712 Adobe's.
_APERIO_YCBCR, _APERIO_RGB = 33003, 33005
JPEG2000 = (_APERIO_YCBCR, _APERIO_RGB, COMPRESSION.JPEG_2000_LOSSY, COMPRESSION.JPEG2000)
JPEG2000_PEAK_BYTES = (
    12  # for each sample: OpenJPEG computes with 32 bits, and a strip may be all there is
)
_ORIENTATION, _SOFTWARE = 274, 305
_CODESTREAM = b"\xff\x4f\xff\x51"  # SOC and SIZ
_MIN_SIZE = 48  # bytes of both markers and a SIZ segment of one component
_SECOND_COMPONENT = 41  # its offset in SIZ: bits, then distances across and down
_MAX_HEAD = 4096  # bytes up to the end of SIZ; boxes may come first
_PREDICTED = frozenset(
    {
        COMPRESSION.LZW,
        COMPRESSION.ADOBE_DEFLATE,
        COMPRESSION.DEFLATE,
        COMPRESSION.LZMA,
        COMPRESSION.ZSTD,
    }
)


def decode_page(page: TiffPage) -> Raster:
    """Decode a page that `app.imaging.codecs.tiff` accepts: as uint8, or as uint16 from 9 bits on.

    Palettes are looked up. Zero is black, whatever the file counts. Floats count from 0, black, to
    1, white, in the curve of the profile, or of sRGB without one; values outside are clipped, and
    NaN is black.
    """
    if page.compression in JPEG2000:
        _check_codestreams(page)
        page.subsampling = (1, 1)  # codestreams state their own
    if page.compression in JPEG:
        _check_scans(page)
    photometric = page.photometric
    if page.compression not in _PREDICTED:
        page.predictor = 1  # as libtiff, which has predictors for these compressions alone
    if page.compression == COMPRESSION.JPEG and page.planarconfig == PLANARCONFIG.SEPARATE:
        page.photometric = PHOTOMETRIC.MINISBLACK  # of each plane
    samples = page.asarray(maxworkers=1)
    page.photometric = photometric
    samples = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    if page.planarconfig == PLANARCONFIG.SEPARATE and samples.ndim == 3:
        samples = np.moveaxis(samples, 0, 2)
    samples = samples.reshape(*samples.shape[:2], -1)
    kind = page.extrasamples[0] if page.extrasamples else EXTRASAMPLE.UNSPECIFIED
    if page.colormap is not None:
        has_alpha = kind == EXTRASAMPLE.UNASSALPHA
        alpha = _to_full_range(page, samples[..., 1]) if has_alpha else None
        return Raster(_look_up(page.colormap, samples[..., 0]), "rgb", alpha)
    space = SPACES[page.photometric]
    if space == "cmyk":
        return Raster(_to_full_range(page, samples[..., :4]), space)
    colours = 3 if samples.shape[2] >= 3 else 1
    if space != "lab":
        space = "rgb" if colours == 3 else "gray"
    alpha = None
    if kind != EXTRASAMPLE.UNSPECIFIED and samples.shape[2] > colours:
        alpha = _to_full_range(page, samples[..., colours])
    raster = Raster(_colours(page, samples[..., :colours], space), space, alpha)
    return unmultiply(raster) if kind == EXTRASAMPLE.ASSOCALPHA and space != "lab" else raster


def _look_up(palette: NDArray[np.uint16], indices: NDArray[np.unsignedinteger]) -> Samples:
    """Return (H, W, 3) uint8; entries are of 16 bits, or of 8 in the files of some programs."""
    shift = 8 if palette.max() > 255 else 0
    colours = np.ascontiguousarray((palette >> shift).astype(np.uint8).T)
    if indices.dtype == bool:  # of one bit, which would be a mask
        indices = indices.astype(np.uint8)
    looked_up: Samples = colours[indices]
    return looked_up


def _colours(page: TiffPage, samples: np.ndarray, space: ColourSpace) -> Samples:
    if space == "lab":
        return _encode_lab(page, samples)
    full_range = _to_full_range(page, samples)
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        light: Samples = np.iinfo(full_range.dtype).max - full_range
        return light
    return _to_rgb(full_range) if _holds_ycbcr(page) else full_range


def _to_full_range(page: TiffPage, samples: np.ndarray) -> Samples:
    """Scale samples to all of uint8, or from 9 bits on of uint16; the result is contiguous."""
    bits = page.bitspersample
    if samples.dtype.kind == "f" or bits > 16:
        return _to_16bit(samples, bits)
    samples = np.ascontiguousarray(samples)
    if bits < 8:
        stretched: Samples = (samples.astype(np.uint16) * 255 // (2**bits - 1)).astype(np.uint8)
        return stretched
    return scale_to_16bit(samples, bits) if 8 < bits < 16 else samples


def _to_16bit(samples: np.ndarray, bits: int) -> NDArray[np.uint16]:
    """Round floats of 0..1, or drop the low bits of integers."""
    scaled = np.empty(samples.shape, np.uint16)
    for rows in split_rows(*samples.shape[:2]):
        if samples.dtype.kind == "f":
            light = np.nan_to_num(samples[rows].astype(np.float32))
            scaled[rows] = np.rint(np.clip(light, 0, 1) * 65535)
        else:
            scaled[rows] = samples[rows] >> (bits - 16)
    return scaled


def _encode_lab(page: TiffPage, samples: np.ndarray) -> Samples:
    """Return CIELAB as ICC profiles of version 4 count it: L from 0, a and b from -128.

    The largest value is 100, or 127.
    """
    is_float, bytes_each = samples.dtype.kind == "f", samples.dtype.itemsize
    icc = page.photometric == PHOTOMETRIC.ICCLAB and not is_float
    encoded = np.empty(samples.shape, np.uint8 if bytes_each == 1 else np.uint16)
    full = np.iinfo(encoded.dtype).max
    if is_float:
        white, unit = 100, 1
    else:
        unit = 1 if bytes_each == 1 else 256
        # ICCLAB of 16 bits counts as ICC profiles of version 2 do. L is unsigned, even where the
        # file states that all samples are signed.
        samples = samples.view(encoded.dtype)
        white = 255 * unit if icc else full
    for rows in split_rows(*samples.shape[:2]):
        strip = samples[rows]
        chroma = strip[..., 1:]
        if not is_float and not icc:
            chroma = chroma.view(f"i{bytes_each}")
        chroma = chroma / np.float32(unit) + np.float32(0 if icc else 128)
        encoded[rows, :, 0] = _round(strip[..., 0] * np.float32(full / white), full)
        encoded[rows, :, 1:] = _round(chroma * np.float32(full / 255), full)
    return encoded


def _round(values: np.ndarray, full: int) -> np.ndarray:
    rounded: np.ndarray = np.rint(np.clip(np.nan_to_num(values), 0, full))
    return rounded


def _check_scans(page: TiffPage) -> None:
    """Check the scans of each JPEG strip or tile, as if it had all pixels of the page.

    Raises:
        FormatError: one has too many.
    """
    file, pixels = page.parent.filehandle, page.imagewidth * page.imagelength
    for offset, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        file.seek(offset)
        # The marker does not occur in entropy-coded data. The rare one in metadata does no harm.
        check_scans(file.read(length).count(bytes([0xFF, SOS])), pixels)


def _check_codestreams(page: TiffPage) -> None:
    """Check that no strip or tile states a larger size than it has.

    Raises:
        FormatError: one does, or is not JPEG 2000.
    """
    most = (page.tilewidth or page.imagewidth, page.tilelength or page.rowsperstrip)
    for size in _codestream_sizes(page):
        # After the length and the profile of the segment.
        width, height, left, top = struct.unpack_from(">IIII", size, 4)
        if width - left > most[0] or height - top > most[1]:
            raise FormatError("a strip or tile of it states another size than the TIFF")


def _codestream_sizes(page: TiffPage) -> Iterator[bytes]:
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


def _holds_ycbcr(page: TiffPage) -> bool:
    """Return whether decoded samples are YCbCr.

    libvips writes YCbCr with the compression 33004 and states RGB. Its files have an orientation
    and never name their software; those of Bio-Formats, which hold RGB, do.
    """
    if page.compression not in JPEG2000 or page.samplesperpixel < 3 or _is_subsampled(page):
        return False
    if page.photometric == PHOTOMETRIC.YCBCR or page.compression == _APERIO_YCBCR:
        return True
    return bool(
        page.compression == COMPRESSION.JPEG_2000_LOSSY
        and page.samplesperpixel == 3
        and _ORIENTATION in page.tags
        and _SOFTWARE not in page.tags
    )


def _is_subsampled(page: TiffPage) -> bool:
    """Return whether the second component has fewer samples: imagecodecs makes RGB of these."""
    size = next(_codestream_sizes(page), b"")
    return len(size) > _SECOND_COMPONENT + 2 and size[_SECOND_COMPONENT + 1] > 1


def _to_rgb(samples: Samples) -> Samples:
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
