"""The orientation is applied wherever it is stored, and no reader turns the result again."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageOps

from app.imaging.codecs import ImageFormat
from app.imaging.encode import encode
from tests.helpers.files import XMP, photo, saved, scene, tiff, with_chunks

KINDS = {"BYTE": (1, "B"), "SHORT": (3, "H"), "LONG": (4, "I")} | {
    "SBYTE": (6, "b"),
    "SSHORT": (8, "h"),
    "SLONG": (9, "i"),
}
WRITTEN = (ImageFormat.JPEG, ImageFormat.PNG, ImageFormat.WEBP, ImageFormat.TIFF, ImageFormat.AVIF)


def block(orientation: int, kind: str, order: str) -> bytes:
    """Make an EXIF block that holds an orientation of a type alone."""
    number, code = KINDS[kind]
    value = struct.pack(order + code, orientation).ljust(4, b"\0")
    head = struct.pack(order + "IHHHI", 8, 1, 0x0112, number, 1)
    return (b"II*\0" if order == "<" else b"MM\0*") + head + value + bytes(4)


def check(body: bytes) -> None:
    """Check that a file of the scene with orientation 6 is turned once, and not twice."""
    image = photo(body)
    expected = np.rot90(scene(), -1)
    assert image.pixels.shape == expected.shape
    assert np.abs(image.pixels.astype(float) - expected).mean() < 3
    for image_format in WRITTEN:
        with Image.open(BytesIO(encode(image, image_format, 90))) as written:
            assert ImageOps.exif_transpose(written).size == (64, 96)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", KINDS)
def test_exif_of_any_integer_type(kind: str, order: str) -> None:
    """In JPEG, WebP and PNG."""
    exif = block(6, kind, order)
    check(saved(scene(), "JPEG", quality=95, exif=b"Exif\0\0" + exif))
    check(saved(scene(), "WEBP", lossless=True, exif=exif))
    check(with_chunks(saved(scene(), "PNG"), eXIf=exif))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("big", [False, True])
def test_the_tag_of_a_tiff(kind: str, order: str, big: bool) -> None:
    """In TIFF's own directory, of BigTIFF as well."""
    tags = [(0x0112, KINDS[kind][0], 1, 6, True)]
    check(tiff(scene(), photometric="rgb", byteorder=order, bigtiff=big, extratags=tags))


@pytest.mark.parametrize("keyword", ["exif", "APP1", "app1", "EXIF"])
@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
def test_raw_profiles_of_a_png(keyword: str, prefix: bytes) -> None:
    """In the text that ImageMagick wrote before there was eXIf, whatever the case."""
    data = prefix + block(6, "LONG", ">")
    text = b"\n%s\n%8d\n%s\n" % (keyword.encode(), len(data), data.hex("\n", 36).encode())
    keyword_bytes = b"Raw profile type " + keyword.encode()
    check(with_chunks(saved(scene(), "PNG"), tEXt=keyword_bytes + b"\0" + text))
    check(with_chunks(saved(scene(), "PNG"), zTXt=keyword_bytes + b"\0\0" + zlib.compress(text)))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xmp_alone(encoding: str) -> None:
    """In a packet of JPEG, WebP, PNG and TIFF, where there is no EXIF."""
    packet = XMP.decode().encode(encoding)
    check(saved(scene(), "JPEG", quality=95, xmp=packet))
    check(saved(scene(), "WEBP", lossless=True, xmp=packet))
    check(with_chunks(saved(scene(), "PNG"), iTXt=b"XML:com.adobe.xmp\0\0\0\0\0" + packet))
    check(tiff(scene(), photometric="rgb", extratags=[(700, 1, len(packet), packet, True)]))


def test_a_segment_of_xmp_as_the_text_of_a_png() -> None:
    """ImageMagick calls a segment with XMP APP1, too."""
    data = b"http://ns.adobe.com/xap/1.0/\0" + XMP
    text = b"\nAPP1\n%8d\n%s\n" % (len(data), data.hex("\n", 36).encode())
    check(with_chunks(saved(scene(), "PNG"), tEXt=b"Raw profile type APP1\0" + text))


def test_an_exif_block_that_is_cut_off() -> None:
    """The tags before the cut are read."""
    cut = bytearray(block(6, "SHORT", ">"))
    cut[9] = 7  # entries, of which one is there
    check(saved(scene(), "JPEG", quality=95, exif=b"Exif\0\0" + cut))


@pytest.mark.parametrize("orientation", [0, 9, 200])
def test_what_is_no_orientation_is_left_alone(orientation: int) -> None:
    """Metadata state 1 only where everything that is recognised was applied."""
    image = photo(
        saved(scene(), "JPEG", quality=95, exif=b"Exif\0\0" + block(orientation, "SHORT", "<"))
    )
    assert image.pixels.shape == scene().shape
    written = Image.open(BytesIO(encode(image, ImageFormat.JPEG, 90)))
    assert written.getexif()[0x0112] == orientation
