"""A photo to bytes, and back."""

from __future__ import annotations

import struct
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pillow_jxl  # noqa: F401 -- lets Pillow read JPEG XL
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis.extra import numpy as npst
from PIL import Image as PilImage

from app.errors import BadParameter
from app.imaging.codecs import ImageFormat
from app.imaging.codecs.bmff import find_box
from app.imaging.colour import srgb_profile
from app.imaging.encode import encode
from app.imaging.raster import Image, Metadata, Samples
from tests.helpers.files import XMP, exif, photo, ramp, read_exif, saved, scene, scene_16, source

ENCODABLE = [it for it in ImageFormat if it.encodable]
# PNG and JPEG XL name sRGB in a field of their own.
WITHOUT_PROFILE = (ImageFormat.PNG, ImageFormat.APNG, ImageFormat.JXL, ImageFormat.GIF)
WITH_PROFILE = [it for it in ENCODABLE if it not in WITHOUT_PROFILE]
LOSSLESS = [it for it in ENCODABLE if it.codec.bit_depth == 16 and not it.codec.default_quality]
LOSSY = [it for it in ENCODABLE if it.codec.default_quality is not None]
EIGHT_BIT = [it for it in ENCODABLE if it.codec.bit_depth == 8]
READ_ONLY = [it for it in ImageFormat if not it.encodable]
WITH_ALPHA = [it for it in (*LOSSY, *LOSSLESS) if it.codec.has_alpha]


def made(pixels: Samples, alpha: Samples | None = None) -> Image:
    """Make an image without metadata."""
    return Image(pixels, alpha, Metadata())


@st.composite
def photos(draw: st.DrawFn) -> Image:
    """Photos of any size, depth and opacity."""
    dtype = np.dtype(draw(st.sampled_from([np.uint8, np.uint16])))
    height, width = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    pixels = draw(npst.arrays(dtype, (height, width, 3)))
    alpha = draw(st.none() | npst.arrays(dtype, (height, width)))
    return made(pixels, alpha)


@pytest.mark.parametrize("image_format", LOSSLESS)
@given(original=photos())
@settings(max_examples=60, deadline=None)
def test_lossless_round_trip(image_format: ImageFormat, original: Image) -> None:
    """Through PNG and TIFF every pixel and its alpha survive, with 8 and with 16 bits."""
    decoded = photo(encode(original, image_format, None))
    np.testing.assert_array_equal(decoded.pixels, original.pixels)
    assert decoded.pixels.dtype == original.pixels.dtype
    assert (decoded.alpha is None) == (original.alpha is None)
    if original.alpha is not None:
        np.testing.assert_array_equal(decoded.alpha, original.alpha)


@pytest.mark.parametrize("image_format", [*LOSSY, *LOSSLESS])
def test_lossy_formats_stay_close(image_format: ImageFormat, photos: Path) -> None:
    """At the default quality a photo stays within 35 dB of itself."""
    original = photo((photos / "otters.jpg").read_bytes())
    decoded = photo(encode(original, image_format, None))
    error = np.square(decoded.pixels.astype(float) - original.pixels).mean()
    assert 10 * np.log10(255**2 / max(error, 1e-9)) > 35


@pytest.mark.parametrize("image_format", LOSSY)
def test_quality_costs_bytes(image_format: ImageFormat, photos: Path) -> None:
    """Less quality is fewer bytes, down to the least."""
    original = photo((photos / "lake.jpg").read_bytes())
    sizes = [len(encode(original, image_format, quality)) for quality in (1, 30, 60, 90)]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("image_format", [*LOSSY, *LOSSLESS])
def test_metadata_travels(image_format: ImageFormat) -> None:
    """EXIF and XMP go out with the photo, in every format, and come in again the same."""
    original = photo(saved(scene(), "JPEG", exif=exif(), xmp=XMP))
    decoded = photo(encode(original, image_format, None))
    assert decoded.metadata.xmp == original.metadata.xmp
    ours, theirs = (read_exif(it.metadata.exif) for it in (original, decoded))
    for tag in (0x010F, 0x0110, 0x0132):
        assert theirs[tag] == ours[tag]
    assert theirs.get_ifd(0x8769)[0x9003] == "2021:07:04 12:00:00"
    assert theirs.get_ifd(0x8769)[0x927C] == b"MAKER NOTE WITH OFFSETS"
    assert theirs.get_ifd(0x8825) == ours.get_ifd(0x8825)


@pytest.mark.parametrize("image_format", [*LOSSY, *LOSSLESS])
def test_others_read_the_metadata(image_format: ImageFormat) -> None:
    """Pillow finds EXIF and XMP where it expects them."""
    original = photo(saved(scene(), "JPEG", exif=exif(6), xmp=XMP))
    body = encode(original, image_format, None)
    with PilImage.open(BytesIO(body)) as image:
        assert image.getexif()[0x0110] == "K-1"
        assert image.getexif().get(0x0112, 1) == 1
        assert image.getexif().get_ifd(0x8769)[0x9003] == "2021:07:04 12:00:00"
        assert image.getexif().get_ifd(0x8825)[2] == (48.0, 12.0, 30.0)
        xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp", "").encode()
    if image_format is ImageFormat.JXL:  # whose plug-in leaves out XMP
        xmp = find_box(body, b"xml ")
    assert "Anna Müller".encode() in xmp


@pytest.mark.parametrize("depth", [8, 16])
def test_16_bit_png_carries_metadata_too(depth: int) -> None:
    """A 16-bit PNG has the same chunks as an 8-bit one."""
    metadata = photo(saved(scene(), "JPEG", exif=exif(), xmp=XMP)).metadata
    pixels = scene() if depth == 8 else scene_16()
    body = encode(replace(made(pixels), metadata=metadata), ImageFormat.PNG, None)
    assert photo(body).metadata == metadata
    assert body[24] == depth


@pytest.mark.parametrize("image_format", WITH_PROFILE)
def test_tagged_srgb(image_format: ImageFormat) -> None:
    """Results carry the small sRGB profile."""
    with PilImage.open(BytesIO(encode(made(scene()), image_format, None))) as image:
        assert image.info["icc_profile"] == srgb_profile()


def test_png_is_tagged_srgb() -> None:
    """A PNG states sRGB in its own chunk."""
    with PilImage.open(BytesIO(encode(made(scene()), ImageFormat.PNG, None))) as image:
        assert image.info["srgb"] == 0


@pytest.mark.parametrize("subsampling", ["444", "422", "420", "440", "411", None])
def test_jpeg_keeps_its_subsampling(subsampling: str | None) -> None:
    """A JPEG goes out with the chroma subsampling that it came with, 4:2:0 if unknown."""
    body = encode(replace(made(scene()), subsampling=subsampling), ImageFormat.JPEG, 90)
    assert simplejpeg.decode_jpeg_header(body)[3] == (subsampling or "420")


def test_oversized_blocks_do_not_fail_a_jpeg() -> None:
    """EXIF that no JPEG segment can hold is left out; the image is written."""
    metadata = Metadata(exif=b"II*\0" + bytes(70_000))
    decoded = photo(encode(replace(made(scene()), metadata=metadata), ImageFormat.JPEG, None))
    assert decoded.metadata == Metadata()


def test_jpeg_lies_on_white() -> None:
    """Transparent parts turn white in a JPEG, not black."""
    clear = np.zeros((16, 16), np.uint8)
    decoded = photo(encode(made(np.zeros((16, 16, 3), np.uint8), clear), ImageFormat.JPEG, 95))
    assert decoded.pixels.min() >= 254


@pytest.mark.parametrize("image_format", WITH_ALPHA)
def test_alpha_stays(image_format: ImageFormat) -> None:
    """The other formats keep alpha."""
    decoded = photo(encode(made(scene(), ramp()), image_format, None))
    assert decoded.alpha is not None
    assert np.abs(decoded.alpha.astype(int) - ramp()).max() <= 3


def test_a_gif_has_few_colours(photos: Path) -> None:
    """A photo stays within 28 dB of itself; pixels less than half opaque are transparent."""
    original = photo((photos / "otters.jpg").read_bytes())
    decoded = photo(encode(original, ImageFormat.GIF, None))
    error = np.square(decoded.pixels.astype(float) - original.pixels).mean()
    assert 10 * np.log10(255**2 / error) > 28
    ramped = photo(encode(made(scene(), ramp()), ImageFormat.GIF, None))
    np.testing.assert_array_equal(ramped.alpha, np.where(ramp() < 128, 0, 255))


@pytest.mark.parametrize("image_format", EIGHT_BIT)
def test_16_bits_are_rounded(image_format: ImageFormat) -> None:
    """Where a format has 8 bits, 16 are rounded to the nearest of them."""
    deep = scene_16()
    rounded = np.rint(deep / 257).astype(np.uint8)
    assert encode(made(deep), image_format, 90) == encode(made(rounded), image_format, 90)


@pytest.mark.parametrize("image_format", READ_ONLY)
def test_read_only_formats(image_format: ImageFormat) -> None:
    """Formats that are only read are rejected as a parameter."""
    with pytest.raises(BadParameter, match="not written"):
        encode(made(scene()), image_format, None)


def test_sides_that_a_format_cannot_hold() -> None:
    """A photo too long for a format is rejected as a parameter, not crashed on."""
    long = made(np.zeros((2, 70_000, 3), np.uint8))
    for image_format in (ImageFormat.JPEG, ImageFormat.WEBP, ImageFormat.AVIF):
        with pytest.raises(BadParameter, match="pixels on a side"):
            encode(long, image_format, None)
    assert source(encode(long, ImageFormat.PNG, None)).width == 70_000


def test_same_photo_same_bytes() -> None:
    """Encoding is deterministic, the profile's date included."""
    assert srgb_profile()[24:36] == struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    for image_format in ENCODABLE:
        assert encode(made(scene()), image_format, 80) == encode(made(scene()), image_format, 80)
