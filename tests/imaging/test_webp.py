"""WebPs whose chunks beside the pixels, or whose lengths, are damaged."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from tests.helpers.files import exif, photo, ramp, saved, scene


def resized(body: bytes, length: int | None = None) -> bytes:
    """Return a file whose first header states a length, by default the right one."""
    return body[:4] + struct.pack("<I", len(body) - 8 if length is None else length) + body[8:]


@pytest.mark.parametrize("length", [0, 10, 1 << 20])
def test_a_wrong_length_of_the_file(length: int) -> None:
    """The chunks count."""
    body = resized(saved(scene(), "WEBP", lossless=True), length)
    assert np.array_equal(photo(body).pixels, scene())


@pytest.mark.parametrize("kind", [b"EXIF", b"XMP ", b"ICCP"])
@pytest.mark.parametrize("content", [b"", b"x", b"neither of these"])
def test_damaged_chunks(kind: bytes, content: bytes) -> None:
    """Metadata and a profile that cannot be read are ignored."""
    body = saved(scene(), "WEBP", lossless=True, exif=exif(1), xmp=b"<x", icc_profile=bytes(50))
    start = body.index(kind)
    (length,) = struct.unpack_from("<I", body, start + 4)
    rest = body[start + 8 + length + length % 2 :]
    chunk = struct.pack("<4sI", kind, len(content)) + content + b"\0" * (len(content) % 2)
    assert np.array_equal(photo(resized(body[:start] + chunk + rest)).pixels, scene())
    assert np.array_equal(photo(body[:start] + chunk + rest).pixels, scene())


def test_a_chunk_that_is_cut_off() -> None:
    """Metadata at the end, of which a part is missing, do not cost the image."""
    body = saved(scene(), "WEBP", lossless=True, exif=exif(1))
    assert np.array_equal(photo(body[:-20]).pixels, scene())


def test_unknown_chunks() -> None:
    """Wherever they are, even before the image in a file without VP8X."""
    body = saved(scene(), "WEBP", lossless=True)
    assert np.array_equal(
        photo(resized(body[:12] + b"junk\4\0\0\0abcd" + body[12:])).pixels, scene()
    )


@pytest.mark.parametrize("lossless", [False, True])
def test_flags_that_do_not_fit(lossless: bool) -> None:
    """The chunks count, not the flags that announce them; alpha is kept."""
    rgba = np.dstack((scene(), ramp()))
    body = saved(rgba, "WEBP", lossless=lossless, quality=95, exact=True, exif=exif(1))
    flags = body.index(b"VP8X") + 8
    expected = photo(body)
    for value in range(0, 256, 5):
        image = photo(body[:flags] + bytes((value,)) + body[flags + 1 :])
        assert image.alpha is not None
        assert np.array_equal(image.alpha, ramp())
        assert np.array_equal(image.pixels, expected.pixels)
