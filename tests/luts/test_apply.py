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
from tests.helpers.published import read_published_look

INTERPOLATIONS: list[Interpolation] = ["tetrahedral", "trilinear"]
both_interpolations = pytest.mark.parametrize("interpolation", INTERPOLATIONS)
both_depths = pytest.mark.parametrize("dtype", [np.uint8, np.uint16])


def make_dense_colours(dtype: DTypeLike) -> NDArray[Any]:
    """Make all greys, a grid of colours and colours in between, as pixels (1, W, 3)."""
    top = np.iinfo(dtype).max
    greys = np.repeat(np.arange(top + 1), 3).reshape(-1, 3)
    grid = np.rint(Lut3D.identity(52).table.reshape(-1, 3) * top)
    between = np.random.default_rng(3).integers(0, top, (50_000, 3), endpoint=True)
    return np.concatenate([greys, grid, between]).astype(dtype)[np.newaxis]


def compute_reference(
    pixels: NDArray[Any], lut: Lut3D, interpolation: Interpolation
) -> NDArray[Any]:
    """Interpolate in double precision, clamp and round."""
    top = np.iinfo(pixels.dtype).max
    return np.rint(np.clip(lut.evaluate(pixels / top, interpolation), 0, 1) * top)


def assert_close_to_reference(
    pixels: NDArray[Any], lut: Lut3D, interpolation: Interpolation
) -> None:
    """Assert that the kernel is within one level of double precision."""
    output = pixels.copy()
    apply(output, lut, interpolation)
    assert np.abs(output - compute_reference(pixels, lut, interpolation)).max() <= 1


@both_depths
@both_interpolations
@pytest.mark.parametrize("size", [2, 3, 4, 16, 17, 33, 64, 65, 129])
def test_the_identity_changes_nothing(
    size: int, interpolation: Interpolation, dtype: DTypeLike
) -> None:
    """Every level of every channel stays the same, for any size of the table."""
    colours = make_dense_colours(dtype)
    output = colours.copy()
    apply(output, Lut3D.identity(size), interpolation)
    np.testing.assert_array_equal(output, colours)


@both_interpolations
def test_a_look_at_strength_0_changes_nothing(
    photo: NDArray[np.uint8], look: Lut3D, adaptive_look: Lut3D, interpolation: Interpolation
) -> None:
    """A photograph stays the same, with a shaper and without."""
    for lut in (look, adaptive_look):
        output = photo.copy()
        apply(output, lut.at_strength(0), interpolation)
        np.testing.assert_array_equal(output, photo)


@both_depths
@both_interpolations
@pytest.mark.parametrize("name", ["look", "adaptive_look", "separable_look"])
def test_looks_are_applied_as_in_double_precision(
    name: str, interpolation: Interpolation, dtype: DTypeLike, request: pytest.FixtureRequest
) -> None:
    """All colours are within one level of the reference, with shapers too."""
    assert_close_to_reference(
        make_dense_colours(dtype), request.getfixturevalue(name), interpolation
    )


@both_depths
@both_interpolations
@settings(deadline=None)  # the first call compiles a loop
@given(size=st.integers(2, 9), seed=st.integers(0, 2**32 - 1), spread=st.floats(0, 4))
def test_any_table_is_applied_as_in_double_precision(
    size: int, seed: int, spread: float, interpolation: Interpolation, dtype: DTypeLike
) -> None:
    """Steep tables, and tables far outside -0.5..1.5, are as exact as others."""
    random = np.random.default_rng(seed)
    table = (0.5 + spread * (random.random((size, size, size, 3)) - 0.5)).astype(np.float32)
    pixels = random.integers(0, np.iinfo(dtype).max, (1, 500, 3), dtype, endpoint=True)
    assert_close_to_reference(pixels, Lut3D(table), interpolation)


@both_interpolations
@pytest.mark.parametrize("value", [-0.5, -0.4999, 0.0, 1.0, 1.4998, 1.49999, 1.5])
def test_a_table_at_the_bounds_of_packing_is_exact(
    value: float, interpolation: Interpolation
) -> None:
    """The extremes of the packed integers neither wrap nor carry into other channels."""
    for channel in range(3):
        table = np.full((9, 9, 9, 3), 0.5, np.float32)
        table[..., channel] = value
        pixels = make_dense_colours(np.uint8)
        apply(pixels, Lut3D(table), interpolation)
        expected = np.full(3, 128)
        expected[channel] = 255 * min(max(value, 0), 1)
        assert np.abs(pixels - expected).max() <= 1


def test_8_and_16_bits_agree(photo: NDArray[np.uint8], look: Lut3D) -> None:
    """A photograph in 16 bits, rounded to 8 bits afterwards, is within one level of 8 bits."""
    deep = photo * np.uint16(257)
    apply(photo, look)
    apply(deep, look)
    assert np.abs(photo - np.rint(deep / 257)).max() <= 1


def test_strips_equal_the_whole_image(photo: NDArray[np.uint8], look: Lut3D) -> None:
    """A prepared LUT is applied to the rows of an image, as several threads do."""
    whole = photo.copy()
    prepared = prepare(look, "tetrahedral", np.uint8)
    prepared.apply(whole)
    for top in range(0, len(photo), 100):
        prepared.apply(photo[top : top + 100])
    np.testing.assert_array_equal(photo, whole)


@both_depths
@both_interpolations
@pytest.mark.parametrize("count", range(4))
def test_few_pixels_are_changed_without_their_neighbours(
    look: Lut3D, interpolation: Interpolation, dtype: DTypeLike, count: int
) -> None:
    """A loop that reads ahead stays within its pixels, even if there are none."""
    pixels = make_dense_colours(dtype)[:, -8:].copy()
    whole, untouched = pixels.copy(), pixels.copy()
    apply(whole, look, interpolation)
    apply(pixels[:, 2 : 2 + count], look, interpolation)
    np.testing.assert_array_equal(pixels[:, 2 : 2 + count], whole[:, 2 : 2 + count])
    np.testing.assert_array_equal(pixels[:, :2], untouched[:, :2])
    np.testing.assert_array_equal(pixels[:, 2 + count :], untouched[:, 2 + count :])


def test_pixels_that_cannot_change_in_place_are_rejected(
    photo: NDArray[np.uint8], look: Lut3D
) -> None:
    """Strided and read-only pixels would be changed in a copy."""
    frozen = photo.copy()
    frozen.setflags(write=False)
    for pixels in (photo[:, ::2], photo.transpose(1, 0, 2), frozen):
        with pytest.raises(ValueError, match="in place"):
            apply(pixels, look)


def test_pixels_of_another_dtype_or_shape_are_rejected(
    photo: NDArray[np.uint8], look: Lut3D
) -> None:
    """A prepared LUT accepts RGB pixels of its dtype alone."""
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
    """The tables of the CLUT-Net authors overshoot; a photograph is exact to one level."""
    lut = read_published_look(shared, model)
    assert lut.table.min() < 0
    assert lut.table.max() > 1
    assert_close_to_reference(photo, lut, interpolation)


@pytest.mark.reference
@pytest.mark.parametrize("model", ["20+05+10", "20+05+20"])
def test_published_images_are_reproduced(shared: Path, model: str) -> None:
    """With trilinear interpolation, the kernel is within one level of the authors' code."""
    with Image.open(shared / "parity" / "a1629.jpg") as image:
        pixels = np.array(image)
    with Image.open(shared / "parity" / f"a1629-{model}.png") as image:
        expected = np.array(image).astype(int)
    apply(pixels, read_published_look(shared, model), "trilinear")
    assert np.abs(pixels - expected).max() <= 1
