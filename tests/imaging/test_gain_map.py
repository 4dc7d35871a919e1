"""Gain maps are kept: written by other programs or by this file, read back by libultrahdr."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.MpoImagePlugin import MpoImageFile

from app.imaging.codecs import ImageFormat
from app.imaging.encode import encode
from tests.helpers.files import XMP, exif, photo, saved, scene
from tests.helpers.gain_maps import (
    GAIN_MAP,
    apple_heic,
    apple_jpeg,
    expected_apple_light,
    read_light,
    ultra_hdr,
    with_first_segment,
    without_segments,
)
from tests.helpers.paths import SHARED

ISO = b"urn:iso:std:iso:ts:21496:-1\0"
HDRGM = b"http://ns.adobe.com/xap/1.0/\0"


def relative_difference(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the mean difference as a share of the mean."""
    return float(np.abs(one - other).mean() / other.mean())


def enhanced(body: bytes) -> bytes:
    """Decode a file and encode it as a JPEG."""
    return encode(photo(body), ImageFormat.JPEG, 95)


def test_the_result_is_still_hdr() -> None:
    """Libultrahdr reads an HDR image like the one that it wrote, and the index is right."""
    body = enhanced(ultra_hdr())
    before = read_light(ultra_hdr())
    assert before.max() > 2
    assert relative_difference(read_light(body), before) < 0.1
    with MpoImageFile(BytesIO(body)) as image:
        assert image.n_frames == 2
        image.seek(1)
        assert image.convert("L").size[0] > 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_gain_map_is_turned_with_the_image(orientation: int) -> None:
    """A photograph that was taken upright stays HDR."""
    block = exif(orientation)
    body = with_first_segment(ultra_hdr(), 0xE1, block)
    light = read_light(ultra_hdr())
    turned = Image.Transpose
    steps = {2: [turned.FLIP_LEFT_RIGHT], 3: [turned.ROTATE_180], 4: [turned.FLIP_TOP_BOTTOM]}
    steps |= {5: [turned.TRANSPOSE], 6: [turned.ROTATE_270], 7: [turned.TRANSVERSE]}
    steps |= {8: [turned.ROTATE_90], 1: []}
    planes = [Image.fromarray(light[..., i].astype(np.float32)) for i in range(3)]
    for step in steps[orientation]:
        planes = [plane.transpose(step) for plane in planes]
    expected = np.dstack([np.asarray(plane) for plane in planes])
    assert relative_difference(read_light(enhanced(body)), expected) < 0.1


@pytest.mark.parametrize("kept", [ISO, HDRGM])
def test_either_standard_alone(kept: bytes) -> None:
    """Parameters of ISO 21496-1, or of Ultra HDR, are enough."""
    both = enhanced(apple_jpeg("maker note"))
    first, second = both.split(b"\xff\xd9\xff\xd8", 1)
    second = without_segments(second, HDRGM if kept == ISO else ISO)
    written = enhanced(first + b"\xff\xd9\xff\xd8" + second)
    assert relative_difference(read_light(written), read_light(both)) < 0.1
    assert (b"GainMapMax" in written) == (kept == HDRGM)
    assert written.count(ISO) == (2 if kept == ISO else 0)


APPLE: dict[str, Callable[..., bytes]] = {"jpeg": apple_jpeg, "heic": apple_heic}


@pytest.mark.parametrize("kind", APPLE)
@pytest.mark.parametrize("stated", ["maker note", "xmp"])
def test_gain_maps_of_apple(kind: str, stated: str) -> None:
    """They become Ultra HDR; the light is that of Apple's formula."""
    written = enhanced(APPLE[kind](stated))
    assert relative_difference(read_light(written), expected_apple_light()) < 0.05


def test_a_turned_gain_map_of_apple() -> None:
    """Its gain map is turned with the image."""
    written = enhanced(apple_jpeg("maker note", orientation=6))
    assert relative_difference(read_light(written), np.rot90(expected_apple_light(), -1)) < 0.05


@pytest.mark.parametrize("kind", APPLE)
def test_a_gain_map_of_unknown_headroom(kind: str) -> None:
    """Without the headroom there is nothing to convert."""
    assert photo(APPLE[kind]("nothing")).gain_map is None


def test_the_packet_of_the_image_is_not_that_of_its_gain_map() -> None:
    """A HEIC holds the XMP of both."""
    image = photo(apple_heic("xmp", packet=XMP))
    assert image.gain_map is not None
    assert b"Anna" in (image.metadata.xmp or b"")


def test_dropped_gain_maps_leave_no_pointer() -> None:
    """Without a gain map neither XMP nor index mentions one."""
    for original in (ultra_hdr(), apple_jpeg("maker note"), apple_jpeg("nothing")):
        body = encode(replace(photo(original), gain_map=None), ImageFormat.JPEG, 95)
        for mention in (b"GainMap", b"MPF\0", ISO, b"hdr-gain-map"):
            assert mention not in body
        assert photo(body).gain_map is None


def test_a_gain_map_that_is_not_there() -> None:
    """A file whose second image is lost is read as an ordinary one."""
    primary = ultra_hdr()[: ultra_hdr().index(b"\xff\xd9\xff\xd8") + 2]
    assert photo(primary).gain_map is None
    assert photo(ultra_hdr()[:-20]).gain_map is None


def test_a_gain_map_that_is_larger_than_the_image() -> None:
    """It would cost more than the image, so it is dropped."""
    large = np.zeros((640, 960), np.uint8)
    assert photo(apple_jpeg("maker note", gain_map=large)).gain_map is None
    assert photo(apple_heic("maker note", gain_map=large)).gain_map is None
    assert photo(apple_jpeg("maker note", gain_map=GAIN_MAP)).gain_map is not None


def test_an_image_between() -> None:
    """Apple's files hold further images, such as previews, before the gain map."""
    primary, gain_map = apple_jpeg("maker note").split(b"\xff\xd9\xff\xd8", 1)
    preview = saved(scene(32, 24), "JPEG")
    body = primary + b"\xff\xd9" + preview + b"\xff\xd8" + gain_map
    assert relative_difference(read_light(enhanced(body)), expected_apple_light()) < 0.05


@pytest.mark.reference
def test_a_file_with_two_packets() -> None:
    """The packets are merged, and the gain map is kept."""
    body = (SHARED / "cases" / "ultrahdr_two_xmp.jpg").read_bytes()
    written = enhanced(body)
    with MpoImageFile(BytesIO(written)) as image:
        assert image.n_frames == 2
    packet = photo(written).metadata.xmp or b""
    assert b"Colosseum at dusk" in packet
    assert b"(c) Jane" in packet
    assert written.count(b"Item:Semantic") == 2
