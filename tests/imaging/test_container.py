"""Properties of pixels in a container: which are shown, how they are turned, and their shape."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.errors import DamagedImage, NotAnImage
from app.imaging.codecs.bmff import clean_aperture
from app.imaging.raster import Crop
from tests.helpers.files import exif, photo, ramp, saved, scene, source
from tests.helpers.heic import heic_item
from tests.helpers.heif_container import (
    ALPHA,
    Item,
    auxiliary,
    avif_item,
    box,
    container,
    grid,
    mirrored,
    pixel_aspect,
    rotated,
    size_of,
)

WRITERS: dict[bytes, Callable[..., Item]] = {b"avif": avif_item, b"heic": heic_item}
brands = pytest.mark.parametrize("brand", WRITERS)


def check(body: bytes, expected: NDArray[Any]) -> None:
    """Compare the shown pixels of a file, on average; x265 is lossy."""
    pixels = photo(body).pixels
    assert (source(body).height, source(body).width) == expected.shape[:2]
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(float) - expected).mean() < 2


def clap(width: int, height: int, right: int, below: int, halves: int = 1) -> bytes:
    """Return a clap box; the offsets of the centre are in parts of a pixel."""
    return struct.pack(">8i", width, 1, height, 1, right, halves, below, halves)


@brands
def test_clean_aperture(brand: bytes) -> None:
    """Only the part that is shown is decoded and measured."""
    item = WRITERS[brand](scene(), box(b"clap", clap(60, 40, -12, 8, 2)))
    check(container(brand, [item]), scene()[16:56, 12:72])


@brands
@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_rotation_and_mirroring(brand: bytes, quarters: int, axis: int | None) -> None:
    """Both are applied, in the order of the file."""
    steps = {rotated(quarters): lambda it: np.rot90(it, quarters)}
    if axis is not None:
        steps[mirrored(axis)] = lambda it: np.flip(it, axis)
    item = WRITERS[brand](scene())
    for order in itertools.permutations(steps):
        expected = scene()
        for step in order:
            expected = steps[step](expected)
        body = container(brand, [replace(item, properties=[*item.properties, *order])])
        check(body, expected)


def test_the_aperture_is_cut_before_the_rotation() -> None:
    """The order that MIAF requires: cut, rotate, mirror."""
    cut = box(b"clap", clap(60, 40, -12, 8, 2))
    for brand, writer in WRITERS.items():
        item = writer(scene(), cut, rotated(1), mirrored(1))
        check(container(brand, [item]), np.flip(np.rot90(scene()[16:56, 12:72]), 1))


@brands
@pytest.mark.parametrize("quarters", [0, 1])
@pytest.mark.parametrize(("across", "down", "size"), [(4, 3, (128, 64)), (2, 3, (96, 96))])
def test_pixels_that_are_not_square(
    brand: bytes, quarters: int, across: int, down: int, size: tuple[int, int]
) -> None:
    """They are resampled to square ones, of the shorter distance; pasp is that before the turn."""
    item = WRITERS[brand](scene(), pixel_aspect(across, down), rotated(quarters))
    resized = Image.fromarray(scene()).resize(size, Image.Resampling.BICUBIC)
    check(container(brand, [item]), np.rot90(np.asarray(resized), quarters))


@brands
@pytest.mark.parametrize("aspect", [(1, 1), (7, 7), (0, 3), (1, 0), (0, 0), (1000, 1)])
def test_damaged_shapes_of_pixels(brand: bytes, aspect: tuple[int, int]) -> None:
    """Square pixels change nothing; nor do values that are no shape of pixels."""
    check(container(brand, [WRITERS[brand](scene(), pixel_aspect(*aspect))]), scene())


def test_the_density_of_a_jpeg_is_no_shape_of_pixels() -> None:
    """Pixels of a JPEG are square, whatever its density is across and down, as in browsers."""
    body = saved(scene(), "JPEG", dpi=(72, 144), quality=95)
    assert (source(body).width, source(body).height) == (96, 64)


@brands
@pytest.mark.parametrize("multiplied", [False, True])
def test_alpha(brand: bytes, multiplied: bool) -> None:
    """Straight alpha is kept; colours that are multiplied with it are divided by it."""
    alpha = np.maximum(ramp(), 128)
    colours = np.rint(scene() * (alpha[..., None] / 255)).astype(np.uint8)
    references = [(b"prem", [1])] if multiplied else []
    writer = WRITERS[brand]
    items = [
        writer(colours if multiplied else scene(), references=references),
        writer(
            np.dstack([alpha] * 3) if brand == b"heic" else alpha,
            auxiliary(ALPHA),
            references=[(b"auxl", [0])],
            hidden=True,
        ),
    ]
    body = container(brand, items)
    check(body, scene())
    decoded = photo(body).alpha
    assert decoded is not None
    assert np.abs(decoded.astype(float) - alpha).mean() < 2


@brands
@pytest.mark.parametrize("transformed", [False, True])
def test_grids(brand: bytes, transformed: bool) -> None:
    """Tiles are joined, and parts beyond the grid are cut off; then it is turned."""
    whole = scene(192, 128)
    tiles = [
        WRITERS[brand](np.ascontiguousarray(tile), hidden=True)
        for row in np.split(whole, 2)
        for tile in np.split(row, 2, axis=1)
    ]
    own = [it for it in tiles[0].properties if it[4:8] in (b"pixi", b"colr")]
    turned = [rotated(1)] if transformed else []
    properties = [size_of(180, 120), *own, *turned]
    first = Item(b"grid", grid(2, 2, 180, 120), properties, [(b"dimg", [1, 2, 3, 4])])
    check(container(brand, [first, *tiles]), np.rot90(whole[:120, :180], len(turned)))


@brands
def test_a_grid_that_is_cut_short(brand: bytes) -> None:
    """A missing tile is damage; a missing image beside the grid is none."""
    tiles = [WRITERS[brand](scene(96, 64), hidden=True) for _ in range(2)]
    own = [it for it in tiles[0].properties if it[4:8] in (b"pixi", b"colr")]
    first = Item(b"grid", grid(1, 2, 192, 64), [size_of(192, 64), *own], [(b"dimg", [1, 2])])
    body = container(brand, [first, *tiles])
    for missing in (1, len(tiles[1].data) // 2, len(tiles[1].data)):
        with pytest.raises(DamagedImage):
            photo(body[:-missing])
    other = WRITERS[brand](scene(96, 64))
    more = container(brand, [first, *tiles, other])[: -len(other.data) // 2]
    np.testing.assert_array_equal(photo(more).pixels, photo(body).pixels)


@brands
@pytest.mark.parametrize(
    "damaged",
    [
        box(b"colr", b"nclx\0"),
        box(b"colr", b"prof"),
        box(b"colr", b"abcd123"),
        box(b"pasp", b"1"),
        box(b"irot", b""),
        box(b"imir", b""),
        box(b"clap", b"123"),
        box(b"clap", bytes(32)),
        box(b"clap", clap(500, 1, 0, 0)),
        box(b"pixi", bytes(4)),
        box(b"mdcv", b""),
        box(b"zzzz", b"unknown"),
    ],
    ids=str,
)
def test_damaged_properties(brand: bytes, damaged: bytes) -> None:
    """They are ignored, wherever they stand, even if readers are required to support them."""
    item = WRITERS[brand](scene())
    for properties in ([damaged, *item.properties], [*item.properties, damaged]):
        check(container(brand, [replace(item, properties=properties)]), scene())


@brands
@pytest.mark.parametrize("kind", [b"Exif", b"mime", b"zzzz"])
@pytest.mark.parametrize("content", [b"", b"\0\0", b"\xff" * 40, bytes(4) + exif(6)[6:90]])
def test_damaged_metadata(brand: bytes, kind: bytes, content: bytes) -> None:
    """Items of metadata that cannot be read are ignored."""
    extra = Item(kind, content, references=[(b"cdsc", [0])])
    check(container(brand, [WRITERS[brand](scene()), extra]), scene())


@brands
def test_boxes_of_other_lengths(brand: bytes) -> None:
    """The last box may state no length, or 64 bits of it."""
    body = container(brand, [WRITERS[brand](scene())])
    start = body.index(b"mdat") - 4
    check(body[:start] + bytes(4) + body[start + 4 :], scene())
    check(body + struct.pack(">I4sQ", 1, b"free", 24) + bytes(8), scene())


@brands
@pytest.mark.parametrize("kind", [b"vvc1", b"jpeg", b"j2k1", b"unci", b"zzzz"])
def test_other_codings_are_unsupported(brand: bytes, kind: bytes) -> None:
    """An image that is coded in another way is not damaged; the message names the way."""
    item = replace(WRITERS[brand](scene()), kind=kind)
    with pytest.raises(NotAnImage, match=f"'{kind.decode()}' is not supported"):
        source(container(brand, [item]))
    whole = Item(b"grid", grid(1, 1, 96, 64), [size_of(96, 64)], [(b"dimg", [1])])
    with pytest.raises(NotAnImage, match=f"'{kind.decode()}' is not supported"):
        source(container(brand, [whole, replace(item, hidden=True)]))


@brands
def test_images_of_too_many_parts_are_rejected(brand: bytes) -> None:
    """Given a grid of 900 tiles, its header is read; a grid of 1,024 is damaged."""
    tile = WRITERS[brand](scene(96, 64), hidden=True)
    for side, accepted in ((30, True), (32, False)):
        size, count = (side * 96, side * 64), side * side
        whole = Item(
            b"grid",
            grid(side, side, *size),
            [size_of(*size), *(it for it in tile.properties if it[4:8] in (b"pixi", b"colr"))],
            [(b"dimg", list(range(1, count + 1)))],
        )
        body = container(brand, [whole, *[tile] * count])
        if accepted:
            assert (source(body).width, source(body).height) == size
        else:
            with pytest.raises(DamagedImage, match="1025 images"):
                source(body)


@brands
def test_metadata(brand: bytes) -> None:
    """EXIF and XMP are found wherever the container stores them."""
    block = exif(6)
    items = [
        WRITERS[brand](scene()),
        Item(b"Exif", struct.pack(">I", 6) + block, references=[(b"cdsc", [0])]),
    ]
    found = source(container(brand, items)).header.metadata
    assert found.exif == block.removeprefix(b"Exif\0\0")


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
