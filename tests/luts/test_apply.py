from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import DTypeLike, NDArray
from PIL import Image

from app.luts.apply import apply, prepare
from app.luts.lut3d import Interpolation, Lut3D
from tests.luts.conftest import published_look

INTERPOLATIONS: list[Interpolation] = ["tetrahedral", "trilinear"]
both_interpolations = pytest.mark.parametrize("interpolation", INTERPOLATIONS)
both_depths = pytest.mark.parametrize("dtype", [np.uint8, np.uint16])


def dense_colours(dtype: DTypeLike) -> NDArray[Any]:
    """All greys, a grid through the cube and colours in between, as pixels (1, W, 3)."""
    top = np.iinfo(dtype).max
    greys = np.repeat(np.arange(top + 1), 3).reshape(-1, 3)
    grid = np.rint(Lut3D.identity(52).table.reshape(-1, 3) * top)
    between = np.random.default_rng(3).integers(0, top, (50_000, 3), endpoint=True)
    return np.concatenate([greys, grid, between]).astype(dtype)[np.newaxis]


def reference(pixels: NDArray[Any], lut: Lut3D, interpolation: Interpolation) -> NDArray[Any]:
    """What double precision answers, clamped and rounded."""
    top = np.iinfo(pixels.dtype).max
    return np.rint(np.clip(lut.evaluate(pixels / top, interpolation), 0, 1) * top)


def assert_like_reference(pixels: NDArray[Any], lut: Lut3D, interpolation: Interpolation) -> None:
    """The kernel answers what double precision does, to one level."""
    answer = pixels.copy()
    apply(answer, lut, interpolation)
    assert np.abs(answer - reference(pixels, lut, interpolation)).max() <= 1


@both_depths
@both_interpolations
@pytest.mark.parametrize("size", [2, 3, 4, 16, 17, 33, 64, 65, 129])
def test_the_identity_changes_nothing(
    size: int, interpolation: Interpolation, dtype: DTypeLike
) -> None:
    """Every level of every channel comes back exactly, whatever the size of the table."""
    colours = dense_colours(dtype)
    answer = colours.copy()
    apply(answer, Lut3D.identity(size), interpolation)
    np.testing.assert_array_equal(answer, colours)


@both_interpolations
def test_a_look_at_strength_0_leaves_a_photo_alone(
    photo: NDArray[np.uint8], look: Lut3D, adaptive_look: Lut3D, interpolation: Interpolation
) -> None:
    """No look is no change, on a real photo, shaper or not."""
    for lut in (look, adaptive_look):
        answer = photo.copy()
        apply(answer, lut.at_strength(0), interpolation)
        np.testing.assert_array_equal(answer, photo)


@both_depths
@both_interpolations
@pytest.mark.parametrize("name", ["look", "adaptive_look", "separable_look"])
def test_looks_are_applied_as_in_double_precision(
    name: str, interpolation: Interpolation, dtype: DTypeLike, request: pytest.FixtureRequest
) -> None:
    """Within one level of the reference all over the cube, behind shapers too."""
    assert_like_reference(dense_colours(dtype), request.getfixturevalue(name), interpolation)


@both_depths
@both_interpolations
@settings(deadline=None)  # the first call compiles
@given(size=st.integers(2, 9), seed=st.integers(0, 2**32 - 1), spread=st.floats(0, 4))
def test_any_table_is_applied_as_in_double_precision(
    size: int, seed: int, spread: float, interpolation: Interpolation, dtype: DTypeLike
) -> None:
    """Steep tables, and such that leave -0.5..1.5 by far, are no less exact."""
    random = np.random.default_rng(seed)
    table = (0.5 + spread * (random.random((size, size, size, 3)) - 0.5)).astype(np.float32)
    pixels = random.integers(0, np.iinfo(dtype).max, (1, 500, 3), dtype, endpoint=True)
    assert_like_reference(pixels, Lut3D(table), interpolation)


@both_interpolations
@pytest.mark.parametrize("value", [-0.5, -0.4999, 0.0, 1.0, 1.4998, 1.49999, 1.5])
def test_a_table_at_the_bounds_of_packing_is_right(
    value: float, interpolation: Interpolation
) -> None:
    """The extremes of the packed integers neither wrap nor spill into their neighbours."""
    for channel in range(3):
        table = np.full((9, 9, 9, 3), 0.5, np.float32)
        table[..., channel] = value
        pixels = dense_colours(np.uint8)
        apply(pixels, Lut3D(table), interpolation)
        expected = np.full(3, 128)
        expected[channel] = 255 * min(max(value, 0), 1)
        assert np.abs(pixels - expected).max() <= 1


def test_eight_bits_and_sixteen_agree(photo: NDArray[np.uint8], look: Lut3D) -> None:
    """The same photo in 16 bits gives the same answer, rounded to 8."""
    deep = photo * np.uint16(257)
    apply(photo, look)
    apply(deep, look)
    assert np.abs(photo - np.rint(deep / 257)).max() <= 1


def test_strips_make_the_whole(photo: NDArray[np.uint8], look: Lut3D) -> None:
    """A LUT is prepared once and applied to rows of a photo, as threads share it."""
    whole = photo.copy()
    prepared = prepare(look, "tetrahedral", np.uint8)
    prepared.apply(whole)
    for top in range(0, len(photo), 100):
        prepared.apply(photo[top : top + 100])
    np.testing.assert_array_equal(photo, whole)


@both_depths
@both_interpolations
@pytest.mark.parametrize("count", range(4))
def test_a_few_pixels_are_answered_and_their_neighbours_left_alone(
    look: Lut3D, interpolation: Interpolation, dtype: DTypeLike, count: int
) -> None:
    """A loop that reads ahead ends in time; no pixels at all are none too few."""
    pixels = dense_colours(dtype)[:, -8:].copy()
    whole, untouched = pixels.copy(), pixels.copy()
    apply(whole, look, interpolation)
    apply(pixels[:, 2 : 2 + count], look, interpolation)
    np.testing.assert_array_equal(pixels[:, 2 : 2 + count], whole[:, 2 : 2 + count])
    np.testing.assert_array_equal(pixels[:, :2], untouched[:, :2])
    np.testing.assert_array_equal(pixels[:, 2 + count :], untouched[:, 2 + count :])


def test_pixels_that_cannot_change_in_place_are_refused(
    photo: NDArray[np.uint8], look: Lut3D
) -> None:
    """A copy would take the answer with it, silently."""
    frozen = photo.copy()
    frozen.setflags(write=False)
    for pixels in (photo[:, ::2], photo.transpose(1, 0, 2), frozen):
        with pytest.raises(ValueError, match="in place"):
            apply(pixels, look)


def test_other_pixels_than_prepared_for_are_refused(photo: NDArray[np.uint8], look: Lut3D) -> None:
    """A prepared LUT takes RGB pixels of its own depth."""
    prepared = prepare(look, "tetrahedral", np.uint16)
    for pixels in (photo, photo.astype(np.uint16)[..., :2], photo[0].astype(np.uint16)):
        with pytest.raises(ValueError, match="uint16"):
            prepared.apply(pixels)


@pytest.mark.reference
@both_interpolations
@pytest.mark.parametrize("model", ["20+05+10", "20+05+20"])
def test_published_tables_are_applied_as_in_double_precision(
    shared: Path, photo: NDArray[np.uint8], model: str, interpolation: Interpolation
) -> None:
    """The tables of the CLUT-Net authors overshoot; a real photo comes out right to a level."""
    lut = published_look(shared, model)
    assert lut.table.min() < 0
    assert lut.table.max() > 1
    assert_like_reference(photo, lut, interpolation)


@pytest.mark.reference
@pytest.mark.parametrize("model", ["20+05+10", "20+05+20"])
def test_the_published_pictures_come_out(shared: Path, model: str) -> None:
    """Trilinear, the kernel makes the pictures that the CLUT-Net authors' code makes."""
    with Image.open(shared / "parity" / "a1629.jpg") as image:
        pixels = np.array(image)
    with Image.open(shared / "parity" / f"a1629-{model}.png") as image:
        expected = np.array(image).astype(int)
    apply(pixels, published_look(shared, model), "trilinear")
    assert np.abs(pixels - expected).max() <= 1
