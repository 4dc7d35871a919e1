"""TIFF through tifffile: read with samples of every usual kind, written with 8 and 16 bits.

Tag numbers and their values: TIFF 6.0; Adobe's TIFF technical notes for ICC and XMP.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from io import BytesIO
from typing import Final

from tifffile import TiffFile, TiffPage, imwrite

from app.errors import NotAnImage
from app.imaging.codecs.base import Codec
from app.imaging.codecs.tiff_samples import check_page, decode_page, peak_bytes
from app.imaging.exif import (
    BYTE,
    Exif,
    Value,
    build_exif,
    descriptive_tags,
    from_tiff,
)
from app.imaging.metadata import read_orientation
from app.imaging.raster import EncodeSettings, Header, Metadata, Raster, Samples

_SAMPLE_FORMAT, _XMP, _ICC, _DNG_VERSION = 339, 700, 34675, 50706
_ROWS_PER_STRIP = 64
_PREVIEW_OR_MASK = 0b101  # of NewSubfileType: belongs to another page
_PAGES_LOOKED_AT = 16
FIRST_PAGE: Final = "first-page"  # the note of an image whose further pages are left out


def read_header(body: bytes) -> Header:
    """Read the tags of the first page, and what the next ones are.

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
        check_page(page)
        metadata = Metadata(from_tiff(body), _block(page, _XMP))
        return Header(
            width=int(page.imagewidth),
            height=int(page.imagelength),
            channels=max(3, page.samplesperpixel),
            bits=page.bitspersample,
            orientation=read_orientation(metadata),
            profile=_block(page, _ICC),
            metadata=metadata,
            peak_bytes=peak_bytes(page),
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
    return _described(bytearray(target.getbuffer()), block, settings.metadata.xmp)


def _described(file: bytearray, block: Exif, xmp: bytes | None) -> bytes:
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
    # What tifffile raises of damaged directories is as manifold as the damage.
    except Exception:
        return None


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
