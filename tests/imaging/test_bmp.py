"""BMPs of every layout; runs compared with Pillow's reading, bit fields with the packed values."""

from __future__ import annotations

import struct
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
from PIL import Image as PilImage

from app.errors import DamagedImage, NotAnImage
from tests.helpers.files import photo, saved, scene, source

RLE8, RLE4, BIT_FIELDS = 1, 2, 3


def bmp(
    bits: int,
    compression: int,
    pixels: bytes,
    *,
    size: tuple[int, int] = (96, 64),
    masks: tuple[int, ...] = (),
    palette: bytes = b"",
) -> bytes:
    """Make a BMP with a header of 40 bytes, or of 56 if there is a mask of alpha."""
    length = 56 if len(masks) == 4 else 40
    fields = struct.pack(f"<{len(masks)}I", *masks)
    start = 14 + 40 + len(fields) + len(palette)
    info = struct.pack(
        "<IiiHHIIiiII", length, *size, 1, bits, compression, len(pixels), 0, 0, len(palette) // 4, 0
    )
    head = struct.pack("<2sIII", b"BM", start + len(pixels), 0, start)
    return head + info + fields + palette + pixels


def pack(samples: np.ndarray, masks: tuple[int, ...], word: str) -> bytes:
    """Rows of words, top down, padded to 4 bytes."""
    packed = np.zeros(samples.shape[:2], np.uint64)
    for channel, mask in enumerate(masks):
        shift = (mask & -mask).bit_length() - 1
        packed |= samples[..., channel].astype(np.uint64) << np.uint64(shift)
    rows = packed.astype(word)
    return b"".join(row.tobytes().ljust(-(-row.nbytes // 4) * 4, b"\0") for row in rows)


@pytest.mark.parametrize(
    ("masks", "word"),
    [
        ((0x3FF00000, 0xFFC00, 0x3FF), "<u4"),
        ((0x3FF, 0xFFC00, 0x3FF00000), "<u4"),
        ((0xF800, 0x7E0, 0x1F), "<u2"),
        ((0xF00, 0xF0, 0xF), "<u2"),
        ((0xFF0000, 0xFF00, 0xFF, 0xFF000000), "<u4"),
        ((0xFF, 0xFF00, 0xFF0000, 0x7F000000), "<u4"),
        ((0xFFFF0000, 0xFF00, 0xFF), "<u4"),
    ],
)
@pytest.mark.parametrize("width", [96, 95])
def test_bit_fields_of_any_layout(masks: tuple[int, ...], word: str, width: int) -> None:
    """Each field is stretched to the full range of 8 bits, or of 16 where it has more."""
    largest = [mask >> ((mask & -mask).bit_length() - 1) for mask in masks]
    shades = np.dstack((scene(width), scene(width)[..., :1]))[..., : len(masks)]
    samples = np.rint(shades / 255 * largest)
    body = bmp(
        8 * int(word[2]),
        BIT_FIELDS,
        pack(samples, masks, word),
        size=(width, -64),
        masks=masks,
    )
    image = photo(body)
    full = np.iinfo(image.pixels.dtype).max
    assert full == (65535 if max(largest) > 255 else 255)
    assert np.abs(image.pixels / full - (samples / largest)[..., :3]).max() < 1 / full
    assert (image.alpha is not None) == (len(masks) == 4)


def runs_of(indices: np.ndarray, nibbles: bool) -> bytes:
    """Encode runs, literals and ends of lines; bottom up."""
    coded = b""
    for row in indices[::-1]:
        literal = row[:6]
        if nibbles:
            packed = bytes(int(a) << 4 | int(b) for a, b in literal.reshape(-1, 2))
        else:
            packed = bytes(literal.tolist())
        coded += b"\0\6" + packed + b"\0" * (len(packed) % 2)
        for value in row[6:]:
            coded += bytes((1, int(value) << 4 if nibbles else int(value)))
        coded += b"\0\0"
    return coded + b"\0\1"


@pytest.mark.parametrize("bits", [4, 8])
def test_runs(bits: int) -> None:
    """Runs are expanded as another decoder does it."""
    count = 1 << bits
    palette = np.random.default_rng(1).integers(0, 256, (count, 4), np.uint8)
    palette[:, 3] = 0
    indices = (scene()[..., 0].astype(int) * count // 256).astype(np.uint8)
    coded = runs_of(indices, bits == 4)
    body = bmp(bits, RLE4 if bits == 4 else RLE8, coded, palette=palette.tobytes())
    expected = np.asarray(PilImage.open(BytesIO(body)).convert("RGB"))
    assert np.array_equal(expected, palette[indices][..., 2::-1])
    assert np.array_equal(photo(body).pixels, expected)


def test_runs_that_leave_the_image() -> None:
    """Jumps and runs beyond the edges write nothing there."""
    coded = b"\0\2\x50\0" + b"\xff\1" + b"\0\2\xff\xff" + b"\4\1"
    image = photo(bmp(8, RLE8, coded, palette=bytes((0, 0, 0, 0, 9, 9, 9, 0))))
    assert np.count_nonzero(image.pixels[..., 0]) == 96 - 0x50


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_files_of_another_writer(mode: str) -> None:
    """Palettes and samples are as Pillow reads them from its own files."""
    body = saved(PilImage.fromarray(scene(91)).convert(mode), "BMP")
    expected = np.asarray(PilImage.open(BytesIO(body)).convert("RGB"))
    assert np.array_equal(photo(body).pixels, expected)


@pytest.mark.parametrize("length", [16, 40, 42, 52, 56, 60, 64, 108, 124, 128])
def test_headers_of_any_length(length: int) -> None:
    """Those of OS/2 end after any field; later ones have more."""
    body = with_header(length)
    assert np.array_equal(photo(body).pixels, scene())
    with pytest.raises(DamagedImage, match="cut short"):
        photo(body[: 14 + min(length, 40) - 1])


def with_header(length: int, tail: bytes = b"") -> bytes:
    """Make a BMP of the scene in 24 bits, with an info header of some length and a tail."""
    fields = struct.pack("<IiiHHIIiiII", length, 96, 64, 1, 24, 0, 0, 0, 0, 0, 0)
    info = fields[:length].ljust(length - len(tail), b"\0") + tail
    start = 14 + len(info)
    return struct.pack("<2sIII", b"BM", 0, 0, start) + info + scene()[::-1, :, ::-1].tobytes()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("colours", [0, 3, 1 << 31])
def test_palettes(bits: int, colours: int) -> None:
    """Indices of every size are looked up; a wrong number of colours is ignored."""
    count = 1 << bits
    palette = np.random.default_rng(2).integers(0, 256, (count, 4), np.uint8)
    indices = (scene(90)[..., 1].astype(int) * count // 256).astype(np.uint8)
    bits_of = np.unpackbits(indices[::-1, :, None], axis=2)[..., 8 - bits :]
    rows = np.packbits(bits_of.reshape(64, -1), axis=1)
    pixels = b"".join(row.tobytes().ljust(-(-row.size // 4) * 4, b"\0") for row in rows)
    body = bytearray(bmp(bits, 0, pixels, size=(90, 64), palette=palette.tobytes()))
    body[46:50] = struct.pack("<I", colours)
    missing = palette.copy()
    missing[colours if colours == 3 else count :] = 0
    assert np.array_equal(photo(bytes(body)).pixels, missing[indices][..., 2::-1])


def test_an_embedded_profile() -> None:
    """The profile of a header of version 5 is used."""
    profile = imagecodecs.cms_profile("adobergb")
    body = with_header(124, tail=b"DEBM" + bytes(52) + bytes(12))
    offset = len(body) - 14
    body = body[: 14 + 112] + struct.pack("<II", offset, len(profile)) + body[14 + 120 :] + profile
    expected = photo(saved(scene(), "PNG", icc_profile=profile)).pixels
    assert not np.array_equal(expected, scene())
    assert np.array_equal(photo(body).pixels, expected)


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        (bmp(64, 0, bytes(8 * 96 * 64)), NotAnImage, "64 bits a pixel is not supported"),
        (bmp(24, 5, b""), NotAnImage, "compression 5 is not supported"),
        (bmp(24, BIT_FIELDS, b"", masks=(1, 2, 4)), DamagedImage, "bit fields in 24 bits"),
        (bmp(16, BIT_FIELDS, bytes(8), masks=(0xF00, 0, 0xF)), DamagedImage, "empty"),
        (bmp(16, BIT_FIELDS, bytes(8), masks=(0xF00, 0xF0, 0xF)), DamagedImage, "cut short"),
        (bmp(8, RLE4, b""), DamagedImage, "runs of 8 bits"),
    ],
)
def test_messages(body: bytes, error: type[Exception], words: str) -> None:
    """Unsupported files are not called damaged, and no message is an exception's."""
    with pytest.raises(error, match=words):
        photo(body)
    if error is NotAnImage:
        with pytest.raises(NotAnImage):
            source(body)
