"""PNGs whose chunks beside the pixels are damaged or old; compared with Pillow's pixels."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image as PilImage

from app.errors import DamagedImage, NotAnImage, TooMuchMetadata
from tests.helpers.files import XMP, exif, photo, saved, scene, source, with_chunks

CHRM = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)


@pytest.mark.parametrize(
    "chunks",
    [
        {"gAMA": bytes(4), "cHRM": CHRM},
        {"gAMA": b"\0\0"},
        {"gAMA": struct.pack(">I", 45455), "cHRM": CHRM[:7]},
        {"gAMA": struct.pack(">I", 45455), "cHRM": bytes(32)},
        {"cICP": b"\1"},
        {"acTL": b"\0\0\0"},
        {"acTL": struct.pack(">II", 1 << 31, 0)},
        {"iTXt": b"XML:com.adobe.xmp\0"},
        {"iTXt": b"XML:com.adobe.xmp\0\1\0\0\0damaged"},
        {"iCCP": b"name\0\0damaged"},
        {"eXIf": b"neither II nor MM"},
        {"zTXt": b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 12\nno hexadecimal")},
        {"pHYs": b"", "tIME": b"\0", "bKGD": bytes(99), "sBIT": bytes(9), "hIST": b"\0"},
    ],
    ids=lambda chunks: "+".join(chunks) if isinstance(chunks, dict) else None,
)
def test_damaged_chunks_do_not_cost_the_image(chunks: dict[str, bytes]) -> None:
    """The pixels are those of the file without the chunks."""
    image = photo(with_chunks(saved(scene(), "PNG"), **chunks))
    assert np.array_equal(image.pixels, scene())


@pytest.mark.parametrize("keyword", [b"Raw profile type exif", b"Raw profile type APP1"])
def test_exif_as_text(keyword: bytes) -> None:
    """The block that ImageMagick wrote before eXIf existed is read, and its orientation applied."""
    block = exif(6)
    text = b"\nexif\n%8d\n" % len(block) + block.hex("\n", 36).encode() + b"\n"
    body = with_chunks(saved(scene(), "PNG"), zTXt=keyword + b"\0\0" + zlib.compress(text))
    image = photo(body)
    assert np.array_equal(image.pixels, np.rot90(scene(), -1))
    assert b"Pentax" in (image.metadata.exif or b"")


def test_orientation_in_xmp_alone() -> None:
    """The XMP's orientation is applied."""
    body = with_chunks(saved(scene(), "PNG"), iTXt=b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
    assert np.array_equal(photo(body).pixels, np.rot90(scene(), -1))


def test_gamma_alone_has_the_primaries_of_srgb() -> None:
    """A linear PNG without chromaticities becomes brighter, as in browsers; 1/2.2 is sRGB."""
    gray = np.full((8, 8, 3), 55, np.uint8)
    linear = photo(with_chunks(saved(gray, "PNG"), gAMA=struct.pack(">I", 100_000)))
    assert abs(int(linear.pixels[0, 0, 0]) - 128) <= 1  # 55/255 as light is 128 in sRGB
    for gamma in (43_200, 45_455, 47_700):  # within 5 %
        usual = photo(with_chunks(saved(gray, "PNG"), gAMA=struct.pack(">I", gamma)))
        assert np.array_equal(usual.pixels, gray)
    other = photo(with_chunks(saved(gray, "PNG"), gAMA=struct.pack(">I", 43_000)))
    assert not np.array_equal(other.pixels, gray)


# What a canvas of Chromium 156 shows of red, green and blue of 200.
SHOWN = {
    5: ((204, 0, 0), (0, 200, 20), (0, 0, 199)),
    6: ((194, 26, 0), (47, 197, 0), (18, 25, 201)),
    8: ((228, 0, 0), (0, 206, 0), (0, 0, 207)),
    9: ((250, 0, 0), (0, 211, 0), (0, 0, 210)),
    11: ((213, 0, 0), (0, 204, 0), (0, 0, 208)),
    22: ((202, 27, 0), (0, 195, 0), (2, 37, 200)),
}


@pytest.mark.parametrize("primaries", SHOWN)
def test_primaries_of_cicp(primaries: int) -> None:
    """Colours of each code point are shown as by a browser."""
    colours = np.eye(3, dtype=np.uint8)[None] * np.uint8(200)
    body = with_chunks(saved(colours, "PNG"), cICP=bytes((primaries, 13, 0, 1)))
    assert np.abs(photo(body).pixels[0].astype(int) - SHOWN[primaries]).max() <= 1


def test_transparent_colours_survive() -> None:
    """A palette with transparency needs PLTE and tRNS, which are passed on."""
    rgba = np.dstack((scene(), np.full((64, 96), 255, np.uint8)))
    rgba[:32, :, 3] = 0
    body = saved(PilImage.fromarray(rgba).quantize(64), "PNG")
    expected = np.asarray(PilImage.open(BytesIO(body)).convert("RGBA"))
    image = photo(body)
    assert image.alpha is not None
    assert np.array_equal(np.dstack((image.pixels, image.alpha)), expected)


def test_a_damaged_header_is_named() -> None:
    """The message names the fault, and not in the words of a library."""
    body = saved(scene(), "PNG")
    with pytest.raises(DamagedImage, match="13 bytes"):
        source(body.replace(b"IHDR", b"iHDR", 1))
    with pytest.raises(DamagedImage):
        photo(body.replace(b"IDAT", b"JDAT", 1))


def test_an_unknown_critical_chunk_is_unsupported() -> None:
    """Decoders may not ignore it, as that of Apple's variant; the message names it."""
    with pytest.raises(NotAnImage, match="critical chunk CgBI"):
        source(with_chunks(saved(scene(), "PNG"), CgBI=bytes(4)))


def test_an_animation_is_one_if_it_has_frames() -> None:
    """The same file with its control behind the pixels is a still image."""
    frames = [PilImage.fromarray(it) for it in (scene(), scene()[::-1])]
    body = saved(frames[0], "PNG", save_all=True, append_images=frames[1:])
    assert source(body).header.animation is not None
    control = body.index(b"acTL") - 4
    end = body.rindex(b"IEND") - 4
    moved = body[:control] + body[control + 20 : end] + body[control : control + 20] + body[end:]
    assert np.array_equal(photo(moved).pixels, scene())


def test_a_bomb_in_a_text() -> None:
    """Texts are not inflated without a limit."""
    bomb = b"Comment\0\0" + zlib.compress(bytes(5 << 20))
    with pytest.raises(TooMuchMetadata):
        source(with_chunks(saved(scene(), "PNG"), zTXt=bomb))
