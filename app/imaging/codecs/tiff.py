"""TIFF, 8 and 16 bits, through tifffile.

Tag numbers and their values: TIFF 6.0; Adobe's TIFF technical notes for ICC and XMP.
"""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC, TiffFile, TiffPage, imwrite

from app.errors import NotAnImage
from app.imaging.codecs.base import Codec
from app.imaging.exif import (
    BYTE,
    Exif,
    Value,
    build_exif,
    descriptive_tags,
    from_tiff,
)
from app.imaging.metadata import read_orientation
from app.imaging.raster import (
    ColourSpace,
    EncodeSettings,
    FormatError,
    Header,
    Metadata,
    Raster,
    Samples,
    scale_to_16bit,
    split_rows,
    to_raster,
)

_XMP, _ICC, _DNG_VERSION = 700, 34675, 50706
_ROWS_PER_STRIP = 64
_PREVIEW_OR_MASK = 0b101  # of NewSubfileType: belongs to another page
_PAGES_LOOKED_AT = 16
_MAX_PAGES = 1000  # that are counted
_LARGEST_TILE = 1 << 24  # pixels; a tile is decoded whole, however little of it is shown
_SPACES: dict[int, ColourSpace] = {
    PHOTOMETRIC.MINISWHITE: "gray",
    PHOTOMETRIC.MINISBLACK: "gray",
    PHOTOMETRIC.RGB: "rgb",
    PHOTOMETRIC.PALETTE: "rgb",
    PHOTOMETRIC.YCBCR: "rgb",
    PHOTOMETRIC.SEPARATED: "cmyk",
}
_JPEG = (COMPRESSION.JPEG, COMPRESSION.OJPEG)
# What photographs are stored with. Each further codec is a further decoder of untrusted bytes.
_COMPRESSIONS = frozenset(
    {
        COMPRESSION.NONE,
        COMPRESSION.LZW,
        *_JPEG,
        COMPRESSION.ADOBE_DEFLATE,
        COMPRESSION.DEFLATE,
        COMPRESSION.PACKBITS,
        COMPRESSION.LZMA,
        COMPRESSION.ZSTD,
    }
)


def read_header(body: bytes) -> Header:
    """Read the tags of the first page, and what the next ones are.

    Raises:
        NotAnImage: it is a camera's raw file, whose first page is a mere preview, or its samples
            are of a kind that is not read here.
    """
    with TiffFile(BytesIO(body)) as tiff:
        page = tiff.pages.first
        _check(page)
        metadata = Metadata(from_tiff(body), _block(page, _XMP))
        return Header(
            width=int(page.imagewidth),
            height=int(page.imagelength),
            channels=max(3, page.samplesperpixel),
            bits=page.bitspersample,
            frames=_frames(tiff),
            orientation=read_orientation(metadata),
            profile=_block(page, _ICC),
            metadata=metadata,
        )


def decode(body: bytes) -> Raster:
    """Decode the first page; palettes are looked up, fewer bits become 8 or 16."""
    with TiffFile(BytesIO(body)) as tiff:
        page = tiff.pages.first
        samples = page.asarray(maxworkers=1)
        samples = _full_range(page, samples.astype(samples.dtype.newbyteorder("="), copy=False))
        if page.planarconfig == 2 and samples.ndim == 3:
            samples = np.moveaxis(samples, 0, 2)
        if page.photometric == PHOTOMETRIC.SEPARATED:
            return Raster(np.ascontiguousarray(samples[..., :4]), "cmyk")
        return _with_alpha(page, samples)


def encode(samples: Samples, settings: EncodeSettings) -> bytes:
    """Encode (H, W, 3 | 4) uint8 or uint16, deflated."""
    exif = settings.metadata.exif
    block = Exif.parse(exif) if exif else Exif("<", {})
    target = BytesIO()
    imwrite(
        target,
        samples,
        byteorder=block.order,
        photometric="rgb",
        planarconfig="contig",
        extrasamples=["unassalpha"] if samples.shape[2] == 4 else None,
        compression="zlib",
        compressionargs={"level": 1},
        predictor=True,
        rowsperstrip=_ROWS_PER_STRIP,
        iccprofile=settings.profile,
        metadata=None,
        software=False,
        maxworkers=1,
    )
    return _described(bytearray(target.getbuffer()), block, settings.metadata.xmp)


def _described(file: bytearray, block: Exif, xmp: bytes | None) -> bytes:
    """Replace the directory by one with EXIF and XMP, which tifffile cannot write."""
    directory = Exif.parse(bytes(file)).directory | descriptive_tags(block.movable().directory)
    if xmp:
        directory[_XMP] = Value(BYTE, xmp)
    file += bytes(len(file) % 2)
    struct.pack_into(block.order + "I", file, 4, len(file))
    return bytes(file + build_exif(directory, block.order, len(file)))


def _block(page: TiffPage, tag: int) -> bytes | None:
    value = page.tags.valueof(tag)
    return value if isinstance(value, bytes) else None  # of a wrong type, if it is anything else


def _has_page(tiff: TiffFile, number: int) -> bool:
    """Read the directories up to that page."""
    try:
        tiff.pages[number]
    except IndexError:
        return False
    return True


def _frames(tiff: TiffFile) -> int:
    if _has_page(tiff, _MAX_PAGES):
        raise FormatError(f"it has more than {_MAX_PAGES} pages")
    others = [page.aspage() for page in tiff.pages[1:_PAGES_LOOKED_AT]]
    return len(tiff.pages) - sum(bool(page.subfiletype & _PREVIEW_OR_MASK) for page in others)


def _check(page: TiffPage) -> None:
    if page.is_reduced or _DNG_VERSION in page.tags:
        raise NotAnImage("This is a camera's raw file: develop it first.")
    if page.compression not in _COMPRESSIONS:
        name = getattr(page.compression, "name", page.compression)
        raise NotAnImage(f"A TIFF with compression {name} is not supported.")
    if page.imagedepth != 1:
        raise NotAnImage("A TIFF with volumes of voxels is not supported.")
    if page.photometric not in _SPACES:
        raise NotAnImage(f"A TIFF of photometric interpretation {page.photometric} is not read.")
    if page.photometric == PHOTOMETRIC.YCBCR and page.compression not in _JPEG:
        raise NotAnImage("A TIFF with YCbCr colours is read only if they are JPEG compressed.")
    if page.sampleformat != 1 or page.bitspersample > 16 or page.samplesperpixel > 5:
        raise NotAnImage("A TIFF is read with up to 16 integer bits a sample.")
    if page.colormap is not None and page.samplesperpixel > 1:
        raise NotAnImage("A TIFF with a palette is read with one sample a pixel.")
    if page.tilewidth * page.tilelength > _LARGEST_TILE:
        raise NotAnImage("The tiles of this TIFF are too large.")


def _full_range(page: TiffPage, samples: np.ndarray) -> Samples:
    """Stretch 1..7 bits to 8 and 9..15 to 16, look up palettes, and let zero be black."""
    bits = page.bitspersample
    if page.colormap is not None:
        return np.moveaxis(page.colormap[:, samples] >> 8, 0, -1).astype(np.uint8)
    if bits < 8:
        samples = (samples.astype(np.uint16) * 255 // (2**bits - 1)).astype(np.uint8)
    elif 8 < bits < 16:
        samples = scale_to_16bit(samples, bits)
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        samples = np.iinfo(samples.dtype).max - samples
    return samples


def _with_alpha(page: TiffPage, samples: Samples) -> Raster:
    """Keep the first extra sample if it is opacity; drop the others."""
    colours = 3 if samples.ndim == 3 and samples.shape[2] >= 3 else 1
    kind = page.extrasamples[0] if page.extrasamples else EXTRASAMPLE.UNSPECIFIED
    if kind == EXTRASAMPLE.UNSPECIFIED:
        return to_raster(samples if samples.ndim == 2 else samples[..., :colours])
    raster = to_raster(samples[..., : colours + 1])
    return _straight(raster) if kind == EXTRASAMPLE.ASSOCALPHA else raster


def _straight(raster: Raster) -> Raster:
    """Undo a multiplication of the colours with alpha."""
    assert raster.alpha is not None  # noqa: S101 - the caller has just made it
    full = np.iinfo(raster.alpha.dtype).max
    for rows in split_rows(*raster.alpha.shape):
        alpha = np.maximum(raster.alpha[rows], 1)[..., np.newaxis].astype(np.float32)
        raster.samples[rows] = np.minimum(np.rint(raster.samples[rows] * (full / alpha)), full)
    return raster


CODEC = Codec(
    name="tiff",
    media_type="image/tiff",
    suffixes=(".tif", ".tiff"),
    matches=lambda head: head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    read_header=read_header,
    decode=decode,
    encode=encode,
    bit_depth=16,
    cost=6,
    encode_bytes=(18, 37),
)
