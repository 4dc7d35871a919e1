"""Gain maps are kept: written by one library, read back by libultrahdr."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
from PIL.MpoImagePlugin import MpoImageFile

from app.imaging.codecs import ImageFormat
from app.imaging.encode import encode
from tests.helpers.files import exif, photo, scene, source


@pytest.fixture(scope="module")
def ultra_hdr() -> bytes:
    """Make an Ultra HDR JPEG with highlights of four times white."""
    light = np.ones((64, 96, 4), np.float16)
    light[..., :3] = (scene() / 255) ** 2.2 * 4
    return bytes(imagecodecs.ultrahdr_encode(light))


def test_the_answer_is_still_hdr(ultra_hdr: bytes) -> None:
    """Libultrahdr reads an HDR image like the one that it wrote, and the index is right."""
    body = encode(photo(ultra_hdr), ImageFormat.JPEG, 95)
    before = imagecodecs.ultrahdr_decode(ultra_hdr).astype(float)[..., :3]
    after = imagecodecs.ultrahdr_decode(body).astype(float)[..., :3]
    assert before.max() > 2
    assert np.abs(after - before).mean() < 0.1 * before.mean()
    with MpoImageFile(BytesIO(body)) as image:
        assert image.n_frames == 2
        image.seek(1)
        assert image.convert("L").size[0] > 0


def test_dropped_gain_maps_leave_no_pointer(ultra_hdr: bytes) -> None:
    """Without a gain map neither XMP nor index mentions one."""
    body = encode(replace(photo(ultra_hdr), gain_map=None), ImageFormat.JPEG, 95)
    assert b"GainMap" not in body
    assert b"MPF\0" not in body
    assert source(body).header.gain_map is None


def test_a_turned_image_has_no_gain_map(ultra_hdr: bytes) -> None:
    """The gain map is not turned, so it would not fit."""
    block = exif(6)
    segment = b"\xff\xe1" + (len(block) + 2).to_bytes(2) + block
    assert photo(ultra_hdr[:2] + segment + ultra_hdr[2:]).gain_map is None


def test_a_gain_map_that_is_not_there(ultra_hdr: bytes) -> None:
    """A file whose second image is lost is read as an ordinary one."""
    primary = ultra_hdr[: ultra_hdr.index(b"\xff\xd9\xff\xd8") + 2]
    assert photo(primary).gain_map is None
    assert photo(ultra_hdr[:-20]).gain_map is None
