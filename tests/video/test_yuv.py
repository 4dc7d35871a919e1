"""Planes to RGB and back: compared with the formulas of the standards, and with swscale."""

from __future__ import annotations

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from app.errors import BadVideo
from app.luts.apply import prepare
from app.luts.lut3d import Lut3D
from app.video.yuv import ColourEncoding, PlaneLayout, Planes, YuvConverter, read_encoding
from app.video.yuv_lut import YuvLutBaker, blend_tables

BT709 = ColourEncoding(1, 0.2126, 0.0722, full_range=False)
ENCODINGS = [
    ColourEncoding(matrix, red, blue, full_range)
    for matrix, red, blue in ((1, 0.2126, 0.0722), (6, 0.299, 0.114), (9, 0.2627, 0.0593))
    for full_range in (False, True)
]
LAYOUTS = [
    PlaneLayout(bits, *shared) for bits in (8, 10, 12) for shared in ((0, 0), (1, 0), (1, 1))
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


def decode(planes: Planes, bits: int, encoding: ColourEncoding) -> NDArray[np.float64]:
    """Decode planes (H, W) to RGB (H, W, 3), not clamped; the inverse of `encode`."""
    scale, top = 1 << (bits - 8), (1 << bits) - 1
    luma, cb, cr = (plane.astype(np.float64) for plane in planes)
    if encoding.full_range:
        luma, cb, cr = luma / top, (cb - 128 * scale) / top, (cr - 128 * scale) / top
    else:
        luma = (luma / scale - 16) / 219
        cb, cr = (cb / scale - 128) / 224, (cr / scale - 128) / 224
    red, blue = luma + 2 * (1 - encoding.red) * cr, luma + 2 * (1 - encoding.blue) * cb
    green = (luma - encoding.red * red - encoding.blue * blue) / (1 - encoding.red - encoding.blue)
    return np.stack((red, green, blue), axis=2)


def random_colours(*shape: int) -> NDArray[np.float64]:
    """Make RGB values of the whole cube, its corners included."""
    rng = np.random.default_rng(0)
    colours = rng.random((*shape, 3))
    colours[0, :8] = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)], float)
    return colours


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
@pytest.mark.parametrize("bits", [8, 10, 12])
def test_decoding_follows_the_standards(bits: int, encoding: ColourEncoding) -> None:
    """RGB comes back within what the rounding of the planes moves it by."""
    rgb = random_colours(16, 32)
    found = YuvConverter(PlaneLayout(bits, 0, 0), encoding).to_rgb(encode(rgb, bits, encoding))
    top = np.iinfo(found.dtype).max
    assert found.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert np.abs(found / top - rgb).max() <= 1.75 / ((1 << bits) - 1) + 0.6 / top


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("size", [(18, 32), (17, 31), (1, 1)])
def test_identity_keeps_planes(layout: PlaneLayout, size: tuple[int, int]) -> None:
    """A LUT that changes no colour changes no sample of one, of odd sizes as well."""
    rng = np.random.default_rng(0)
    unit = 1 << (layout.bits - 8)
    shared = layout.vertical, layout.horizontal
    chroma = tuple((length + shift) >> shift for length, shift in zip(size, shared, strict=True))
    planes = (
        rng.integers(100 * unit, 150 * unit, size).astype(layout.dtype),
        rng.integers(118 * unit, 138 * unit, chroma).astype(layout.dtype),
        rng.integers(118 * unit, 138 * unit, chroma).astype(layout.dtype),
    )
    before = [plane.copy() for plane in planes]
    baker = YuvLutBaker(layout, BT709)
    table = baker.bake(prepare(Lut3D.identity(33), "tetrahedral", np.uint16).apply)
    for strip in layout.split(planes, 4):
        baker.apply(table, strip)
    for mine, theirs in zip(planes, before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
@pytest.mark.parametrize("bits", [8, 10, 12])
def test_tables_follow_the_way_through_rgb(bits: int, encoding: ColourEncoding) -> None:
    """Planes are those of the formulas, of colours of the whole cube and beyond it."""
    rng = np.random.default_rng(0)
    planes = encode(random_colours(64, 64), bits, encoding)
    layout = PlaneLayout(bits, 0, 0)
    lut = curved_lut(rng.uniform(0.7, 1.4, 3))
    rgb = decode(planes, bits, encoding).clip(0, 1)
    expected = encode(lut.evaluate(rgb, "tetrahedral").clip(0, 1), bits, encoding)
    found = tuple(plane.copy() for plane in planes)
    baker = YuvLutBaker(layout, encoding)
    baker.apply(baker.bake(prepare(lut, "tetrahedral", np.uint16).apply), found)
    for mine, theirs in zip(found, expected, strict=True):
        difference = np.abs(mine.astype(int) - theirs.astype(int)) / (1 << (bits - 8))
        assert difference.mean() < 0.1  # 8-bit levels
        assert np.percentile(difference, 99) <= 1.1
        assert difference.max() <= 4  # where colours are clamped between nodes


def curved_lut(exponents: NDArray[np.float64]) -> Lut3D:
    """Make a LUT of curves with an overshoot that is clamped, and a little cross-talk."""
    table = Lut3D.identity(33).table
    curved = 1.06 * table ** exponents.astype(np.float32) - np.float32(0.03)
    return Lut3D(curved + np.float32(0.1) * (curved.mean(axis=3, keepdims=True) - curved))


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_chroma_is_averaged(layout: PlaneLayout) -> None:
    """Pixels that share a chroma sample get the mean of the chroma that each would get."""
    rng = np.random.default_rng(0)
    size = 16, 32
    unit = 1 << (layout.bits - 8)
    luma = rng.integers(60 * unit, 180 * unit, size).astype(layout.dtype)
    shape = size[0] >> layout.vertical, size[1] >> layout.horizontal
    cb, cr = rng.integers(108 * unit, 148 * unit, (2, *shape)).astype(layout.dtype)
    apply = prepare(curved_lut(np.array([0.8, 1.0, 1.2])), "tetrahedral", np.uint16).apply
    baker, whole = YuvLutBaker(layout, BT709), YuvLutBaker(PlaneLayout(layout.bits, 0, 0), BT709)
    repeat = [it.repeat(1 + layout.vertical, 0).repeat(1 + layout.horizontal, 1) for it in (cb, cr)]
    expected = luma.copy(), repeat[0], repeat[1]
    whole.apply(whole.bake(apply), expected)
    found = luma.copy(), cb.copy(), cr.copy()
    baker.apply(baker.bake(apply), found)
    np.testing.assert_array_equal(found[0], expected[0])
    for mine, theirs, before in zip(found[1:], expected[1:], (cb, cr), strict=True):
        blocks = theirs.reshape(shape[0], 1 + layout.vertical, shape[1], 1 + layout.horizontal)
        assert np.abs(mine - blocks.mean(axis=(1, 3))).max() <= 1
        assert np.abs(mine.astype(int) - before).mean() > unit


def test_samples_beyond_the_depth() -> None:
    """Samples of 16 bits in planes of 10, as damaged files hold, read nothing beyond the table."""
    layout = PlaneLayout(10, 1, 1)
    baker = YuvLutBaker(layout, BT709)
    table = baker.bake(prepare(Lut3D.identity(33), "tetrahedral", np.uint16).apply)
    planes = tuple(np.full(shape, 0xFFFF, np.uint16) for shape in ((4, 4), (2, 2), (2, 2)))
    baker.apply(table, planes)
    assert all((plane < 1024).all() for plane in planes)


def test_tables_are_blended() -> None:
    """Between two tables, each value lies between theirs."""
    layout = PlaneLayout(8, 1, 1)
    baker = YuvLutBaker(layout, BT709)
    luts = [curved_lut(np.full(3, it)) for it in (0.7, 1.4)]
    first, second = (baker.bake(prepare(it, "tetrahedral", np.uint16).apply) for it in luts)
    grey = np.full((2, 2), 120, np.uint8), np.full((1, 1), 128, np.uint8)
    levels = []
    for part in (0.0, 0.25, 0.5, 1.0):
        luma, chroma = (it.copy() for it in grey)
        baker.apply(blend_tables(first, second, part), (luma, chroma, chroma.copy()))
        assert chroma == 128
        levels.append(int(luma[0, 0]))
    assert levels[0] - levels[3] > 40
    assert levels[1] == pytest.approx(0.75 * levels[0] + 0.25 * levels[3], abs=1)
    assert levels[2] == pytest.approx(0.5 * levels[0] + 0.5 * levels[3], abs=1)


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
    assert describe() == ColourEncoding(6, 0.299, 0.114, full_range=False)
    assert describe(size=(1920, 1080)) == BT709
    assert describe(size=(720, 576)).red == 0.299
    assert describe(matrix=1) == BT709
    assert describe(matrix=9).red == 0.2627
    assert describe(colour_range=2).full_range
    assert describe(is_jpeg=True).full_range


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_rejected(transfer: int) -> None:
    """The message states that the video is HDR, and how to convert it."""
    with pytest.raises(BadVideo, match=r"HDR .*convert it to BT\.709 first"):
        describe(transfer=transfer, matrix=9)


def test_other_matrices_are_rejected() -> None:
    """Constant luminance needs another conversion."""
    with pytest.raises(BadVideo, match="number 10"):
        describe(matrix=10)
