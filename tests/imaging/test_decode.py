"""Any file to upright sRGB pixels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps

from app.errors import DamagedImage
from app.imaging.decode import decode, decode_reduced
from tests.helpers.files import (
    exif,
    one_of_each,
    photo,
    ramp,
    read_exif,
    saved,
    scene,
    scene_16,
    source,
    tiff,
)
from tests.helpers.heic import heic

RGB = Image.fromarray(scene())
RGBA = Image.fromarray(np.dstack((scene(), ramp())))


def largest_difference(a: NDArray[np.unsignedinteger], b: NDArray[np.unsignedinteger]) -> int:
    """In levels."""
    assert a.shape == b.shape
    return int(np.abs(a.astype(np.int64) - b.astype(np.int64)).max())


@pytest.mark.parametrize("body", one_of_each().values(), ids=one_of_each())
def test_pixels_are_ready_to_be_worked_on(body: bytes) -> None:
    """Whatever comes in, pixels are (H, W, 3) uint8 or uint16, contiguous and writable."""
    pixels = photo(body).pixels
    opened = source(body)
    assert pixels.shape == (opened.height, opened.width, 3)
    assert pixels.dtype in (np.uint8, np.uint16)
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable


def test_jpeg_is_what_libjpeg_turbo_says(photos: Path) -> None:
    """A JPEG's pixels are exactly those of libjpeg-turbo."""
    body = (photos / "lake.jpg").read_bytes()
    np.testing.assert_array_equal(photo(body).pixels, simplejpeg.decode_jpeg(body))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_upright(image_format: str, orientation: int) -> None:
    """A picture in any of the eight orientations comes out upright, and its tag is 1."""
    body = saved(RGB, image_format, exif=exif(orientation))
    with Image.open(BytesIO(body)) as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))
    decoded = photo(body)
    # Two builds of libavif round their colour conversion differently.
    assert largest_difference(decoded.pixels, expected) <= (2 if image_format == "AVIF" else 0)
    if image_format != "AVIF":
        assert read_exif(decoded.metadata.exif)[0x0112] == 1


def test_alpha_is_turned_along() -> None:
    """Alpha follows its colours."""
    decoded = photo(saved(RGBA, "PNG", exif=exif(8)))
    assert decoded.alpha is not None
    np.testing.assert_array_equal(decoded.alpha, np.rot90(ramp()))


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("1", {}),
        ("L", {}),
        ("LA", {}),
        ("P", {}),
        ("P", {"bits": 4}),
        ("P", {"transparency": 7}),
        ("P", {"transparency": bytes(range(256))}),
        ("L", {"transparency": 77}),
        ("RGB", {"transparency": tuple(map(int, scene()[5, 5]))}),
        ("RGBA", {}),
    ],
)
def test_every_kind_of_png(mode: str, options: dict[str, object]) -> None:
    """Palettes, gray, and every kind of transparency decode as Pillow decodes them."""
    image = RGB.quantize(16) if "bits" in options else RGBA.convert("RGB").convert(mode)
    image = RGBA.convert(mode) if mode in ("LA", "RGBA") else image
    body = saved(image, "PNG", **options)
    with Image.open(BytesIO(body)) as reference:
        expected = np.asarray(reference.convert("RGBA"))
        transparent = reference.has_transparency_data
    decoded = photo(body)
    np.testing.assert_array_equal(decoded.pixels, expected[..., :3])
    assert (decoded.alpha is not None) == transparent
    if decoded.alpha is not None:
        np.testing.assert_array_equal(decoded.alpha, expected[..., 3])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_keeps_16_bits(channels: int) -> None:
    """16-bit gray, RGB and their alpha arrive without losing a bit."""
    every = np.dstack((scene_16(), scene_16()[..., 0]))
    samples = np.ascontiguousarray(every[..., :channels]).squeeze()
    decoded = photo(imagecodecs.png_encode(samples))
    colours = every[..., : 1 if channels < 3 else 3]
    np.testing.assert_array_equal(decoded.pixels, np.broadcast_to(colours, decoded.pixels.shape))
    assert (decoded.alpha is not None) == (channels in (2, 4))
    if decoded.alpha is not None:
        np.testing.assert_array_equal(decoded.alpha, every[..., channels - 1])


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "lzma", "zstd"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_tiff_keeps_16_bits(compression: str | None, planar: str, byteorder: str) -> None:
    """16-bit TIFF arrives bit for bit, whatever its layout."""
    samples = scene_16() if planar == "contig" else np.moveaxis(scene_16(), 2, 0)
    body = tiff(
        samples,
        photometric="rgb",
        planarconfig=planar,
        compression=compression,
        byteorder=byteorder,
    )
    np.testing.assert_array_equal(photo(body).pixels, scene_16())


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA"])
def test_every_kind_of_tiff(mode: str) -> None:
    """Bilevel, gray, palette and alpha TIFF decode as Pillow decodes them."""
    body = saved(RGBA.convert("RGB").convert(mode) if mode in "1LP" else RGBA.convert(mode), "TIFF")
    with Image.open(BytesIO(body)) as reference:
        expected = np.asarray(reference.convert("RGBA"))
    decoded = photo(body)
    np.testing.assert_array_equal(decoded.pixels, expected[..., :3])
    if decoded.alpha is not None:
        np.testing.assert_array_equal(decoded.alpha, expected[..., 3])
    assert (decoded.alpha is not None) == (mode in ("LA", "RGBA"))


def test_tiff_where_zero_is_white() -> None:
    """A TIFF that counts ink comes out as light."""
    gray = np.ascontiguousarray(scene()[..., 0])
    decoded = photo(tiff(gray, photometric="miniswhite"))
    np.testing.assert_array_equal(decoded.pixels[..., 1], 255 - gray)


def test_premultiplied_tiff_becomes_straight() -> None:
    """Colours that were multiplied with alpha are divided by it again."""
    alpha = np.maximum(ramp(), 128)
    premultiplied = np.rint(scene() * (alpha[..., np.newaxis] / 255.0)).astype(np.uint8)
    body = tiff(np.dstack((premultiplied, alpha)), photometric="rgb", extrasamples=["assocalpha"])
    assert largest_difference(photo(body).pixels, scene()) <= 1


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_every_kind_of_bmp(mode: str) -> None:
    """Bilevel, gray, palette and RGB BMP decode as Pillow decodes them."""
    image = RGB.convert(mode)
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(photo(saved(image, "BMP")).pixels, expected)


def test_webp_keeps_alpha() -> None:
    """A lossless WebP with alpha arrives bit for bit."""
    decoded = photo(saved(RGBA, "WEBP", lossless=True, exact=True))
    np.testing.assert_array_equal(decoded.pixels, scene())
    assert decoded.alpha is not None
    np.testing.assert_array_equal(decoded.alpha, ramp())


@pytest.mark.parametrize("bits", [10, 12])
def test_deep_avif_becomes_16_bits(bits: int) -> None:
    """10 and 12 bits are stretched to 16: white is 65535."""
    deep = scene_16() >> (16 - bits)
    deep[:8] = 2**bits - 1
    decoded = photo(imagecodecs.avif_encode(deep, level=100, bitspersample=bits))
    assert decoded.pixels.dtype == np.uint16
    assert decoded.pixels.max() == 65535
    np.testing.assert_allclose(decoded.pixels[16:] / 257, scene_16()[16:] / 257, atol=12)


def test_heic() -> None:
    """An ordinary HEIC decodes."""
    assert largest_difference(photo(heic([scene()])).pixels, scene()) <= 6


def test_heic_is_turned_once() -> None:
    """A HEIC turns itself; the same orientation in its EXIF is not applied, too."""
    body = heic([scene()], rotation=3, exif=exif(6))
    decoded = photo(body)
    assert (source(body).width, source(body).height) == (64, 96)
    assert largest_difference(decoded.pixels, np.rot90(scene(), -1)) <= 6
    assert read_exif(decoded.metadata.exif)[0x0112] == 1


def test_deep_heic_becomes_16_bits() -> None:
    """A 10-bit HEIC keeps its bits."""
    decoded = photo(heic([scene()], bits=10))
    assert decoded.pixels.dtype == np.uint16
    np.testing.assert_allclose(decoded.pixels / 257, scene(), atol=5)


def test_heic_primary_image() -> None:
    """Of several pictures the primary one is decoded."""
    decoded = photo(heic([255 - scene(), scene()], primary=1))
    assert largest_difference(decoded.pixels, scene()) <= 6


@pytest.mark.parametrize("subsampling", ["444", "422", "420", "440", "411"])
def test_subsampling_is_remembered(subsampling: str) -> None:
    """A JPEG's chroma subsampling is known after decoding."""
    body = simplejpeg.encode_jpeg(scene(), colorsubsampling=subsampling)
    assert photo(body).subsampling == subsampling


def test_harmless_oddities_are_forgiven() -> None:
    """Stray bytes in a JPEG, at which libjpeg only warns, do not fail it."""
    body = saved(RGB, "JPEG", quality=95)
    odd = body[:-2] + b"stray" + body[-2:]
    with pytest.raises(ValueError, match="extraneous"):
        simplejpeg.decode_jpeg(odd)
    assert largest_difference(photo(odd).pixels, photo(body).pixels) <= 2


@pytest.mark.parametrize("name", one_of_each())
def test_truncated_files_are_damaged(name: str) -> None:
    """A file that is cut short is rejected, never half decoded."""
    body = one_of_each()[name]
    if name == "webp":
        body = saved(RGB, "WEBP")  # without metadata, which would follow the picture
    if name == "apng":
        body = body[: body.index(b"fdAT")]  # only the first frame is decoded
    for part in (0.05, 0.3, 0.6, 0.9, 0.98):
        with pytest.raises(DamagedImage):
            photo(body[: int(len(body) * part)])


def test_a_webp_cut_behind_its_picture_is_whole() -> None:
    """The metadata after the picture may be missing."""
    body = one_of_each()["webp"]
    cut = photo(body[: body.index(b"XMP ") + 100])
    np.testing.assert_array_equal(cut.pixels, photo(body).pixels)


@pytest.mark.parametrize("name", one_of_each())
@pytest.mark.parametrize("rest", [bytes(1_000_000), b"text"], ids=["zeros", "text"])
def test_bytes_after_the_image_are_ignored(name: str, rest: bytes) -> None:
    """Limits count the image only, whatever follows it."""
    body = one_of_each()[name]
    np.testing.assert_array_equal(photo(body + rest).pixels, photo(body).pixels)


@pytest.mark.parametrize(("width", "height"), [(1600, 1200), (1200, 1600), (300, 260), (100, 90)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_reduced_jpeg(width: int, height: int, orientation: int) -> None:
    """The reduced decode is small, but its short side still has the requested pixels."""
    opened = source(saved(scene(width, height), "JPEG", quality=95, exif=exif(orientation)))
    reduced, full = decode_reduced(opened, 256), decode(opened)
    short = min(reduced.pixels.shape[:2])
    assert short >= min(256, width, height)
    assert short <= max(512, min(width, height) // 2)
    assert reduced.metadata == full.metadata
    size = reduced.pixels.shape[1::-1]
    shrunk = np.asarray(Image.fromarray(full.pixels).resize(size, Image.Resampling.BOX))
    assert np.abs(reduced.pixels.astype(int) - shrunk).mean() < 2


def test_reduced_other_formats() -> None:
    """Formats without a cheaper way decode in full."""
    opened = source(saved(RGB, "PNG"))
    np.testing.assert_array_equal(decode_reduced(opened, 8).pixels, decode(opened).pixels)


def test_threads_do_not_disturb_each_other() -> None:
    """Decoding the same files in several threads at once gives what one thread gives."""
    bodies = list(one_of_each().values()) * 3
    expected = [photo(body).pixels for body in bodies]
    with ThreadPoolExecutor(4) as threads:
        for alone, together in zip(expected, threads.map(photo, bodies), strict=True):
            np.testing.assert_array_equal(together.pixels, alone)
