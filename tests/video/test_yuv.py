"""Planes to RGB and back: compared with the formulas of the standards, and with swscale."""

from __future__ import annotations

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from app.errors import BadVideo
from app.video.colour import ColourEncoding, read_encoding
from app.video.yuv import PlaneLayout, Planes, YuvConverter

BT709 = ColourEncoding(0.2126, 0.0722, full_range=False)
ENCODINGS = [
    ColourEncoding(red, blue, full_range)
    for red, blue in ((0.2126, 0.0722), (0.299, 0.114), (0.2627, 0.0593))
    for full_range in (False, True)
]
LAYOUTS = [
    PlaneLayout(bits, *shared) for bits in (8, 10, 12, 16) for shared in ((0, 0), (1, 0), (1, 1))
]


def encode(rgb: NDArray[np.float64], bits: int, encoding: ColourEncoding) -> Planes:
    """Encode RGB (H, W, 3) in 0..1 by the formulas of BT.709, without sharing chroma."""
    red, green, blue = np.moveaxis(rgb, 2, 0)
    luma = encoding.red * red + encoding.blue * blue + (1 - encoding.red - encoding.blue) * green
    cb = (blue - luma) / 2 / (1 - encoding.blue)
    cr = (red - luma) / 2 / (1 - encoding.red)
    scale = 1 << (bits - 8)
    top = (1 << bits) - 1
    if encoding.full_range:
        planes = luma * top, cb * top + 128 * scale, cr * top + 128 * scale
    else:
        planes = (
            (luma * 219 + 16) * scale,
            (cb * 224 + 128) * scale,
            (cr * 224 + 128) * scale,
        )
    dtype = PlaneLayout(bits, 0, 0).dtype
    luma, cb, cr = (np.rint(it).clip(0, top).astype(dtype) for it in planes)
    return luma, cb, cr


def random_colours(*shape: int) -> NDArray[np.float64]:
    """Make RGB values of the whole cube, its corners included."""
    rng = np.random.default_rng(0)
    colours = rng.random((*shape, 3))
    colours[0, :8] = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)], float)
    return colours


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_decoding_follows_the_standards(bits: int, encoding: ColourEncoding) -> None:
    """RGB comes back within what the rounding of the planes moves it by."""
    rgb = random_colours(16, 32)
    found = YuvConverter(PlaneLayout(bits, 0, 0), encoding).to_rgb(encode(rgb, bits, encoding))
    top = np.iinfo(found.dtype).max
    assert found.dtype == (np.uint8 if bits == 8 else np.uint16)
    # 16 bits leave the integer coefficients fewer bits than the samples have.
    levels = 1.75 if bits < 16 else 6
    assert np.abs(found / top - rgb).max() <= levels / ((1 << bits) - 1) + 0.6 / top


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_encoding_follows_the_standards(bits: int, encoding: ColourEncoding) -> None:
    """The planes of RGB are those of the formulas within one level, more at 16 bits."""
    rgb = random_colours(16, 32)
    layout = PlaneLayout(bits, 0, 0)
    top = np.iinfo(layout.dtype).max
    levels = np.rint(rgb * top).astype(layout.dtype)
    expected = encode(levels / top, bits, encoding)
    found = tuple(np.empty_like(plane) for plane in expected)
    YuvConverter(layout, encoding).to_planes(levels, found)
    for mine, theirs in zip(found, expected, strict=True):
        difference = np.abs(mine.astype(int) - theirs.astype(int)).max()
        assert difference <= (1 if bits < 16 else 40)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("size", [(18, 32), (17, 31), (1, 1)])
def test_round_trip(layout: PlaneLayout, size: tuple[int, int]) -> None:
    """A frame that no look changes keeps its planes, of odd sizes as well."""
    rng = np.random.default_rng(0)
    height, width = size
    chroma = (
        (height + layout.vertical) >> layout.vertical,
        (width + layout.horizontal) >> layout.horizontal,
    )
    unit = 1 << (layout.bits - 8)
    planes = (
        rng.integers(100 * unit, 150 * unit, size).astype(layout.dtype),
        rng.integers(118 * unit, 138 * unit, chroma).astype(layout.dtype),
        rng.integers(118 * unit, 138 * unit, chroma).astype(layout.dtype),
    )
    converter = YuvConverter(layout, BT709)
    for strip in converter.split(planes, 4):
        before = [plane.copy() for plane in strip]
        rgb = converter.to_rgb(strip)
        for plane in strip:
            plane[:] = 0
        converter.to_planes(rgb, strip)
        for mine, theirs in zip(strip, before, strict=True):
            worst = np.abs(mine.astype(int) - theirs.astype(int)).max()
            assert worst <= (1 if layout.bits < 16 else 40)


def test_decoding_matches_swscale() -> None:
    """FFmpeg's own conversion differs by its rounding alone."""
    ramp = np.linspace(30, 220, 64, dtype=np.uint8)
    luma = np.tile(ramp, (48, 1))
    frame = av.VideoFrame(64, 48, "yuv444p")
    planes = luma, luma[:, ::-1] // 4 + 96, luma.copy() // 4 + 96
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.frombuffer(plane, np.uint8).reshape(48, plane.line_size)
        rows[:, :64] = values
    theirs = frame.to_ndarray(format="rgb24", src_colorspace="ITU709", src_color_range="MPEG")
    found = YuvConverter(PlaneLayout(8, 0, 0), BT709).to_rgb(planes)
    assert np.abs(found.astype(int) - theirs.astype(int)).max() <= 2


def describe(**changes: int | tuple[int, int] | bool) -> ColourEncoding:
    """Read the encoding of a description with some changes."""
    fields = {
        "matrix": 2,
        "transfer": 2,
        "colour_range": 0,
        "size": (640, 360),
        "is_jpeg": False,
    }
    return read_encoding(**fields | changes)  # type: ignore[arg-type]


def test_what_is_not_stated_is_assumed() -> None:
    """Without tags, HD is BT.709 and SD is BT.601, both of limited range."""
    assert describe() == ColourEncoding(0.299, 0.114, full_range=False)
    assert describe(size=(1920, 1080)) == BT709
    assert describe(size=(720, 576)).red == 0.299
    assert describe(matrix=1) == BT709
    assert describe(matrix=9).red == 0.2627
    assert describe(colour_range=2).full_range
    assert describe(is_jpeg=True).full_range


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_rejected(transfer: int) -> None:
    """The message says that the video is HDR, and what to do."""
    with pytest.raises(BadVideo, match=r"HDR .*convert it to BT\.709 first"):
        describe(transfer=transfer, matrix=9)


def test_other_matrices_are_rejected() -> None:
    """Constant luminance needs another conversion."""
    with pytest.raises(BadVideo, match="number 10"):
        describe(matrix=10)
