"""The samples of a TIFF page, of every kind that is read, as gray, RGB, CMYK or CIELAB.

Kinds of samples: TIFF 6.0; Adobe's TIFF technical notes for 16-bit CIELAB, ICCLAB and floats.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC, PLANARCONFIG, SAMPLEFORMAT, TiffPage

from app.errors import NotAnImage
from app.imaging.codecs import tiff_jpeg2000
from app.imaging.raster import (
    ColourSpace,
    Raster,
    Samples,
    scale_to_16bit,
    split_rows,
    unmultiply,
)

_INK_SET = 332
_CMYK_INKS = 1
# Samples of a pixel, and the kind of the second one.
_PALETTE_LAYOUTS = {
    (1, EXTRASAMPLE.UNSPECIFIED),
    (2, EXTRASAMPLE.UNSPECIFIED),
    (2, EXTRASAMPLE.UNASSALPHA),
}
_LARGEST_TILE = 1 << 24  # pixels; a tile is decoded whole, however little of it is shown
_MAX_SAMPLES = 5  # of a pixel
_MAX_SEGMENTS = 1 << 16  # strips or tiles, each of which costs 10 µs however small it is
_SPACES: dict[int, ColourSpace] = {
    PHOTOMETRIC.MINISWHITE: "gray",
    PHOTOMETRIC.MINISBLACK: "gray",
    PHOTOMETRIC.RGB: "rgb",
    PHOTOMETRIC.PALETTE: "rgb",
    PHOTOMETRIC.YCBCR: "rgb",
    PHOTOMETRIC.SEPARATED: "cmyk",
    PHOTOMETRIC.CIELAB: "lab",
    PHOTOMETRIC.ICCLAB: "lab",
}
_JPEG = (COMPRESSION.JPEG, COMPRESSION.OJPEG)
# What photographs and scans are stored with. Each further codec is a further decoder of untrusted
# bytes.
_COMPRESSIONS = frozenset(
    {
        COMPRESSION.NONE,
        COMPRESSION.CCITTRLE,
        COMPRESSION.CCITT_T4,
        COMPRESSION.CCITT_T6,
        COMPRESSION.LZW,
        *_JPEG,
        *tiff_jpeg2000.COMPRESSIONS,
        COMPRESSION.ADOBE_DEFLATE,
        COMPRESSION.DEFLATE,
        COMPRESSION.PACKBITS,
        COMPRESSION.LZMA,
        COMPRESSION.ZSTD,
    }
)
_PREDICTED = frozenset(
    {
        COMPRESSION.LZW,
        COMPRESSION.ADOBE_DEFLATE,
        COMPRESSION.DEFLATE,
        COMPRESSION.LZMA,
        COMPRESSION.ZSTD,
    }
)
_SAMPLE_KINDS: dict[int, str] = {
    SAMPLEFORMAT.UINT: "integer",
    SAMPLEFORMAT.INT: "signed integer",
    SAMPLEFORMAT.IEEEFP: "floating-point",
    SAMPLEFORMAT.VOID: "undefined",
    SAMPLEFORMAT.COMPLEXINT: "complex",
    SAMPLEFORMAT.COMPLEXIEEEFP: "complex",
}
_FLOAT_BITS = (16, 24, 32, 64)
_MAX_INTEGER_BITS = 32
_WIDE_COPIES = 3  # of samples: a strip may be all of the image; it is decoded, swapped and joined


def check_page(page: TiffPage) -> None:
    """Check that the samples of a page are of a kind that `decode_page` reads.

    Raises:
        NotAnImage: they are not; the message names what is not supported.
    """
    if page.compression not in _COMPRESSIONS:
        raise NotAnImage(f"A TIFF with compression {_name(page.compression)} is not supported.")
    if page.imagedepth != 1:
        raise NotAnImage("A TIFF with volumes of voxels is not supported.")
    space = _SPACES.get(page.photometric)
    if space is None:
        raise NotAnImage(f"A TIFF with {_name(page.photometric)} colours is not supported.")
    _check_layout(page, space)
    _check_sample_format(page, space)
    if page.tilewidth * page.tilelength > _LARGEST_TILE:
        raise NotAnImage("The tiles of this TIFF are too large.")
    segments = max(len(page.dataoffsets), prod(page.chunked))
    if segments > _MAX_SEGMENTS:
        raise NotAnImage(f"A TIFF of {segments} strips or tiles is not supported.")


def _check_layout(page: TiffPage, space: ColourSpace) -> None:
    compressed = (*_JPEG, *tiff_jpeg2000.COMPRESSIONS)
    if page.photometric == PHOTOMETRIC.YCBCR and page.compression not in compressed:
        raise NotAnImage("A TIFF with YCbCr colours is read only if they are JPEG compressed.")
    if space == "lab" and (page.samplesperpixel < 3 or page.compression in compressed):
        raise NotAnImage("A TIFF with JPEG compressed or incomplete CIELAB is not supported.")
    inks = page.tags.valueof(_INK_SET, _CMYK_INKS)
    if space == "cmyk" and (page.samplesperpixel < 4 or inks != _CMYK_INKS):
        raise NotAnImage("A TIFF with other inks than CMYK is not supported.")
    if page.samplesperpixel > _MAX_SAMPLES:
        raise NotAnImage(f"A TIFF with {page.samplesperpixel} samples a pixel is not supported.")
    extra = page.extrasamples[0] if page.extrasamples else EXTRASAMPLE.UNSPECIFIED
    if page.colormap is not None and (page.samplesperpixel, extra) not in _PALETTE_LAYOUTS:
        raise NotAnImage("A TIFF with a palette is read with an index and straight alpha alone.")


def _check_sample_format(page: TiffPage, space: ColourSpace) -> None:
    bits, kind = page.bitspersample, int(page.sampleformat)
    if not isinstance(bits, int):
        raise NotAnImage("A TIFF whose samples have different numbers of bits is not supported.")
    integers = (SAMPLEFORMAT.UINT, SAMPLEFORMAT.VOID)
    if space == "lab":
        supported = bits in (8, 16) if kind != SAMPLEFORMAT.IEEEFP else bits in _FLOAT_BITS
        supported &= kind in (*integers, SAMPLEFORMAT.INT, SAMPLEFORMAT.IEEEFP)
    elif kind == SAMPLEFORMAT.IEEEFP:
        supported = bits in _FLOAT_BITS
    else:
        supported = kind in integers and bits <= _MAX_INTEGER_BITS
    if not supported:
        name = _SAMPLE_KINDS.get(kind, "unknown")
        raise NotAnImage(f"A TIFF with {name} samples of {bits} bits is not supported.")


def peak_bytes(page: TiffPage) -> int:
    """Return the most memory that decoding takes for each pixel, besides the usual."""
    if page.compression in tiff_jpeg2000.COMPRESSIONS:
        return tiff_jpeg2000.PEAK_BYTES * page.samplesperpixel
    if page.bitspersample > 16:
        return _WIDE_COPIES * page.samplesperpixel * page.bitspersample // 8
    return 0


def _name(value: int) -> str:
    """Return the name of a member of an enumeration, or the number of another value."""
    return str(getattr(value, "name", value))


def decode_page(page: TiffPage) -> Raster:
    """Decode a page that `check_page` accepts: as uint8, or as uint16 from 9 bits on.

    Palettes are looked up. Zero is black, whatever the file counts. Floats count from 0, black, to
    1, white, in the curve of the profile, or of sRGB without one; values outside are clipped, and
    NaN is black.
    """
    if page.compression in tiff_jpeg2000.COMPRESSIONS:
        tiff_jpeg2000.check_codestreams(page)
        page.subsampling = (1, 1)  # codestreams state their own
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
    space = _SPACES[page.photometric]
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
    return tiff_jpeg2000.to_rgb(full_range) if tiff_jpeg2000.holds_ycbcr(page) else full_range


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
        encoded[rows, :, 0] = _rounded(strip[..., 0] * np.float32(full / white), full)
        encoded[rows, :, 1:] = _rounded(chroma * np.float32(full / 255), full)
    return encoded


def _rounded(values: np.ndarray, full: int) -> np.ndarray:
    rounded: np.ndarray = np.rint(np.clip(np.nan_to_num(values), 0, full))
    return rounded
