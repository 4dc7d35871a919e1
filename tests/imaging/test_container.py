"""What a container says about the pixels: the part that is shown."""

from __future__ import annotations

import struct

import imagecodecs
import numpy as np
import pytest

from app.imaging.codecs.bmff import clean_aperture
from app.imaging.raster import Crop
from tests.helpers.files import photo, scene, source


def with_clap(body: bytes, clap: bytes) -> bytes:
    """Make an AVIF whose only item has one more property."""
    meta, mdat = body.index(b"meta") - 4, body.index(b"mdat") - 4
    grown = len(clap) + 8 + 1

    def grow(data: bytes, at: int, by: int) -> bytes:
        (size,) = struct.unpack_from(">I", data, at)
        return data[:at] + struct.pack(">I", size + by) + data[at + 4 :]

    ipco, ipma = body.index(b"ipco") - 4, body.index(b"ipma") - 4
    iprp, iloc = body.index(b"iprp") - 4, body.index(b"iloc") - 4
    (ipco_size,), (ipma_size,) = (struct.unpack_from(">I", body, at) for at in (ipco, ipma))
    (kinds, position) = (0, ipco + 8)
    while position < ipco + ipco_size:
        kinds += 1
        position += struct.unpack_from(">I", body, position)[0]
    changed = grow(grow(grow(grow(body, meta, grown), iprp, grown), ipco, len(clap) + 8), ipma, 1)
    at = iloc + 8 + 4 + 2 + 2 + 2 + 2 + 2  # version, sizes, count, ID, reference, extents
    offset = changed.index(struct.pack(">I", mdat + 8), at - 4)
    changed = grow(changed, offset, grown)
    associations = ipma + 8 + 4 + 4 + 2
    changed = (
        changed[:associations]
        + bytes((changed[associations] + 1,))
        + changed[associations + 1 : ipma + ipma_size]
        + bytes((0x80 | (kinds + 1),))
        + changed[ipma + ipma_size :]
    )
    end = ipco + ipco_size
    return changed[:end] + struct.pack(">I", len(clap) + 8) + b"clap" + clap + changed[end:]


def clap(width: int, height: int, right: int, below: int, halves: int = 1) -> bytes:
    """Make a clap box; the offsets of the centre are in parts of a pixel."""
    return struct.pack(">8i", width, 1, height, 1, right, halves, below, halves)


def test_avif_with_a_clean_aperture() -> None:
    """Only the part that is shown is decoded and measured."""
    whole = imagecodecs.avif_encode(scene(), level=100)
    body = with_clap(whole, clap(60, 40, -12, 8, 2))
    opened = source(body)
    assert (opened.width, opened.height, opened.pixels) == (60, 40, 96 * 64)
    assert np.array_equal(photo(body).pixels, photo(whole).pixels[16:56, 12:72])


@pytest.mark.parametrize(
    ("box", "crop"),
    [
        (clap(96, 64, 0, 0), Crop(0, 0, 96, 64)),
        (clap(50, 20, -23, 22), Crop(0, 44, 50, 20)),
        (clap(97, 64, 0, 0), None),
        (clap(50, 20, -24, 0), None),
        (clap(50, 20, 0, 0, 0), None),
        (clap(0, 20, 0, 0), None),
        (b"\0\0", None),
    ],
)
def test_apertures(box: bytes, crop: Crop | None) -> None:
    """A box that is damaged, or shows more than there is, is ignored."""
    assert clean_aperture(box, 96, 64) == crop
