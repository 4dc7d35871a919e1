"""TIFF through tifffile: read with samples of every usual kind, written with 8 and 16 bits.

Tag numbers and their values: TIFF 6.0; Adobe's TIFF technical notes for ICC and XMP.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from io import BytesIO
from math import prod
from typing import Final

from tifffile import (
    COMPRESSION,
    EXTRASAMPLE,
    PHOTOMETRIC,
    SAMPLEFORMAT,
    TiffFile,
    TiffPage,
    imwrite,
)

from app.errors import NotAnImage
from app.imaging.codecs.base import ImageCodec
from app.imaging.codecs.tiff_samples import JPEG, JPEG2000, JPEG2000_PEAK_BYTES, SPACES, decode_page
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
)

_SAMPLE_FORMAT, _XMP, _ICC, _DNG_VERSION = 339, 700, 34675, 50706
_ROWS_PER_STRIP = 64
_PREVIEW_OR_MASK = 0b101  # of NewSubfileType: belongs to another page
_PAGES_LOOKED_AT = 16
FIRST_PAGE: Final = "first-page"  # the note of an image whose further pages are left out

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
_MAX_SEGMENTS = 1 << 16  # strips or tiles, each of which costs time however small it is
_MAX_READ = 1 << 30  # bytes of all strips or tiles together, which may lie in the same place
# The compressions of photographs and scans. Each further codec is a further decoder of untrusted
# bytes.
_COMPRESSIONS = frozenset(
    {
        COMPRESSION.NONE,
        COMPRESSION.CCITTRLE,
        COMPRESSION.CCITT_T4,
        COMPRESSION.CCITT_T6,
        COMPRESSION.LZW,
        *JPEG,
        *JPEG2000,
        COMPRESSION.ADOBE_DEFLATE,
        COMPRESSION.DEFLATE,
        COMPRESSION.PACKBITS,
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


def read_header(body: bytes) -> Header:
    """Read the tags of the first page, and the types of the next ones.

    Raises:
        NotAnImage: it is a camera's raw file, whose first page is a mere preview, or its samples
            are of a kind that is not read here.
    """
    _check_sample_formats(body)
    with TiffFile(BytesIO(body)) as tiff:
        page = tiff.pages.first
        if page.is_reduced or _DNG_VERSION in page.tags:
            raise NotAnImage(
                "The first image of this TIFF is a mere preview, as in a camera's raw file: "
                "develop it first."
            )
        _check_page(page)
        metadata = Metadata(from_tiff(body), _block(page, _XMP))
        return Header(
            width=int(page.imagewidth),
            height=int(page.imagelength),
            channels=max(3, page.samplesperpixel),
            bits=page.bitspersample,
            orientation=read_orientation(metadata),
            profile=_block(page, _ICC),
            metadata=metadata,
            peak_bytes=_peak_bytes(page),
            notes=(FIRST_PAGE,) if _has_further_pages(tiff) else (),
        )


def decode(body: bytes) -> Raster:
    """Decode the first page."""
    with TiffFile(BytesIO(body)) as tiff:
        return decode_page(tiff.pages.first)


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
    return _describe(bytearray(target.getbuffer()), block, settings.metadata.xmp)


def _describe(file: bytearray, block: Exif, xmp: bytes | None) -> bytes:
    """Replace the directory by one with EXIF and XMP, which tifffile cannot write."""
    directory = Exif.parse(bytes(file)).directory | descriptive_tags(block.movable().directory)
    if xmp:
        directory[_XMP] = Value(BYTE, xmp)
    file += bytes(len(file) % 2)
    struct.pack_into(block.order + "I", file, 4, len(file))
    return bytes(file + build_exif(directory, block.order, len(file)))


def _check_sample_formats(body: bytes) -> None:
    """Raise NotAnImage where they differ: tifffile cannot even open such files."""
    with suppress(ValueError):
        exif = Exif.parse(body)
        value = exif.directory.get(_SAMPLE_FORMAT)
        if isinstance(value, Value) and len(set(value.numbers(exif.order))) > 1:
            raise NotAnImage("A TIFF whose samples have different formats is not supported.")


def _check_page(page: TiffPage) -> None:
    """Check that the samples of a page are of a kind that `decode_page` reads.

    Raises:
        NotAnImage: they are not; the message names the unsupported part.
    """
    if page.compression not in _COMPRESSIONS:
        raise NotAnImage(f"A TIFF with compression {_name(page.compression)} is not supported.")
    if page.imagedepth != 1:
        raise NotAnImage("A TIFF with volumes of voxels is not supported.")
    space = SPACES.get(page.photometric)
    if space is None:
        raise NotAnImage(f"A TIFF with {_name(page.photometric)} colours is not supported.")
    _check_layout(page, space)
    _check_sample_format(page, space)
    if page.tilewidth * page.tilelength > _LARGEST_TILE:
        raise NotAnImage("The tiles of this TIFF are too large.")
    segments = max(len(page.dataoffsets), prod(page.chunked))
    if segments > _MAX_SEGMENTS:
        raise NotAnImage(f"A TIFF of {segments} strips or tiles is not supported.")
    size = page.parent.filehandle.size
    places = zip(page.dataoffsets, page.databytecounts, strict=False)
    if sum(min(length, max(0, size - at)) for at, length in places) > _MAX_READ:
        raise FormatError("its strips or tiles have many times the bytes of the file")


def _check_layout(page: TiffPage, space: ColourSpace) -> None:
    compressed = (*JPEG, *JPEG2000)
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


def _peak_bytes(page: TiffPage) -> int:
    """Return the most memory that decoding takes for each pixel, besides the usual."""
    if page.compression in JPEG2000:
        return JPEG2000_PEAK_BYTES * page.samplesperpixel
    if page.bitspersample > 16:
        return _WIDE_COPIES * page.samplesperpixel * page.bitspersample // 8
    return 0


def _name(value: int) -> str:
    """Return the name of a member of an enumeration, or the number of another value."""
    return str(getattr(value, "name", value))


def _block(page: TiffPage, tag: int) -> bytes | None:
    value = page.tags.valueof(tag)
    return value if isinstance(value, bytes) else None  # of a wrong type, if it is anything else


def _has_further_pages(tiff: TiffFile) -> bool:
    """Return whether there is a page that is no preview or mask of another one."""
    others = [_page(tiff, number) for number in range(1, _PAGES_LOOKED_AT)]
    return any(it is not None and not it.subfiletype & _PREVIEW_OR_MASK for it in others)


def _page(tiff: TiffFile, number: int) -> TiffPage | None:
    """Return a page, or None where there is none, or one that cannot be read."""
    try:
        return tiff.pages[number].aspage()
    # tifffile raises errors of many types for damaged directories.
    except Exception:
        return None


CODEC = ImageCodec(
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
