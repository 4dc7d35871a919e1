from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.luts.lut3d import Interpolation, Lut3D

INTERPOLATIONS: list[Interpolation] = ["tetrahedral", "trilinear"]
LEVEL = 1 / 255


@pytest.fixture
def colours() -> NDArray[np.float64]:
    """Make twenty thousand colours all over the cube, and its corners."""
    inside = np.random.default_rng(7).random((20_000, 3))
    return np.concatenate([inside, Lut3D.identity(2).table.reshape(-1, 3)])


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("size", [2, 3, 17, 33, 65])
def test_the_identity_changes_no_colour(
    size: int, interpolation: Interpolation, colours: NDArray[np.float64]
) -> None:
    """The identity table of any size maps each colour to itself."""
    output = Lut3D.identity(size).evaluate(colours, interpolation)
    np.testing.assert_allclose(output, colours, atol=1e-6)


def test_red_is_fastest() -> None:
    """Entries are found at [blue, green, red] and hold red, green, blue."""
    table = np.zeros((2, 2, 2, 3), np.float32)
    table[0, 0, 1] = 0.1, 0.2, 0.3
    assert Lut3D(table).evaluate(np.array([1.0, 0.0, 0.0])) == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_lattice_positions_return_their_entries(look: Lut3D, interpolation: Interpolation) -> None:
    """At a lattice position there is nothing to interpolate."""
    output = look.evaluate(Lut3D.identity(look.size).table, interpolation)
    np.testing.assert_allclose(output, look.table, atol=1e-5)


def test_tetrahedral_interpolation_of_greys_uses_greys_alone() -> None:
    """Between black and white it mixes these two corners; trilinear mixes all eight."""
    table = np.zeros((2, 2, 2, 3), np.float32)
    table[1, 1, 1] = 1
    grey = np.full(3, 0.5)
    assert Lut3D(table).evaluate(grey, "tetrahedral") == pytest.approx([0.5] * 3)
    assert Lut3D(table).evaluate(grey, "trilinear") == pytest.approx([0.125] * 3)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_colours_outside_the_cube_are_clamped(look: Lut3D, interpolation: Interpolation) -> None:
    """A LUT is constant outside 0..1, and its output is not clamped."""
    outside, edge = np.array([-0.5, 0.3, 2.0]), np.array([0.0, 0.3, 1.0])
    output = look.evaluate(outside, interpolation)
    np.testing.assert_array_equal(output, look.evaluate(edge, interpolation))
    assert output.min() < 0


def test_a_shaper_comes_before_the_table(colours: NDArray[np.float64]) -> None:
    """With an identity table, the output is that of the shaper, clamped."""
    shaper = np.array([[0, 0.5, 2], [1, 1, 0], [0, 1, 1]], np.float32)
    output = Lut3D(Lut3D.identity(5).table, shaper).evaluate(colours)
    red, green, blue = colours.T
    expected = [
        np.interp(red, [0, 0.5, 2 / 3, 1], [0, 0.5, 1, 1]),
        np.interp(green, [0.5, 1], [1, 0]),
        np.interp(blue, [0, 0.5], [0, 1]),
    ]
    np.testing.assert_allclose(output, np.transpose(expected), atol=1e-6)


class TestStrength:
    def test_full_strength_is_the_same_object(self, look: Lut3D) -> None:
        """At strength 1 nothing is computed or rounded."""
        assert look.at_strength(1.0) is look

    def test_strength_0_is_the_identity(self, look: Lut3D) -> None:
        """At strength 0 the table is exactly the identity."""
        np.testing.assert_array_equal(look.at_strength(0).table, Lut3D.identity(33).table)

    @given(strength=st.floats(-1, 2))
    def test_a_strength_blends_the_table_with_the_identity(self, strength: float) -> None:
        """Strength s is identity + s * residual, also outside 0..1."""
        identity = Lut3D.identity(3).table
        residual = np.float32(0.3) * np.sin(9 * identity)
        blended = Lut3D(identity + residual).at_strength(strength)
        np.testing.assert_allclose(blended.table, identity + strength * residual, atol=1e-6)

    @pytest.mark.parametrize("interpolation", INTERPOLATIONS)
    @pytest.mark.parametrize("strength", [0.0, 0.5, 0.9])
    def test_a_non_uniform_lattice_blends_exactly(
        self,
        adaptive_look: Lut3D,
        strength: float,
        interpolation: Interpolation,
        colours: NDArray[np.float64],
    ) -> None:
        """An AdaInt lattice can hold the identity: the shaper stays, and the blend is exact."""
        blended = adaptive_look.at_strength(strength)
        assert blended.shaper is adaptive_look.shaper
        full = adaptive_look.evaluate(colours, interpolation)
        expected = (1 - strength) * colours + strength * full
        np.testing.assert_allclose(
            blended.evaluate(colours, interpolation), expected, atol=0.25 * LEVEL
        )

    def test_a_look_with_another_shaper_is_resampled(
        self, separable_look: Lut3D, colours: NDArray[np.float64]
    ) -> None:
        """The identity does not fit behind curves that are constant over a part of the inputs."""
        blended = separable_look.at_strength(0.5)
        assert (blended.shaper, blended.size) == (None, 65)
        expected = 0.5 * colours + 0.5 * separable_look.evaluate(colours)
        np.testing.assert_allclose(blended.evaluate(colours), expected, atol=0.5 * LEVEL)


def test_clamping_changes_the_table_alone(look: Lut3D, adaptive_look: Lut3D) -> None:
    """The entries are clamped to 0..1, and a shaper stays."""
    clamped = adaptive_look.clamp()
    np.testing.assert_array_equal(clamped.table, look.table.clip(0, 1))
    assert clamped.shaper is adaptive_look.shaper


class TestResample:
    @pytest.mark.parametrize("size", [65, 97])
    def test_a_multiple_of_the_lattice_is_exact(
        self, look: Lut3D, size: int, colours: NDArray[np.float64]
    ) -> None:
        """The new lattice contains the old one, so nothing is lost."""
        finer = look.resample(size).evaluate(colours)
        np.testing.assert_allclose(finer, look.evaluate(colours), atol=1e-5)

    @pytest.mark.parametrize("size", [2, 20, 64, 129])
    def test_the_new_positions_are_exact(self, separable_look: Lut3D, size: int) -> None:
        """An entry is the output of the LUT at its position, with the shaper."""
        some = np.s_[::3, ::3, ::3]  # all of them take seconds
        expected = separable_look.evaluate(Lut3D.identity(size).table[some])
        resampled = separable_look.resample(size)
        assert resampled.shaper is None
        np.testing.assert_allclose(resampled.table[some], expected, atol=1e-5)

    @pytest.mark.parametrize("size", [1, 130])
    def test_other_sizes_are_rejected(self, look: Lut3D, size: int) -> None:
        """Few programs read larger tables, and memory grows with the cube of the size."""
        with pytest.raises(ValueError, match=r"2\.\.129"):
            look.resample(size)


@pytest.mark.parametrize(
    ("table", "shaper"),
    [
        (np.zeros((2, 2, 3, 3), np.float32), None),
        (np.zeros((1, 1, 1, 3), np.float32), None),
        (np.zeros((2, 2, 2, 3), np.float64), None),
        (np.full((2, 2, 2, 3), np.nan, np.float32), None),
        (np.zeros((2, 2, 2, 3), np.float32), np.zeros((2, 9), np.float32)),
        (np.zeros((2, 2, 2, 3), np.float32), np.zeros((3, 1), np.float32)),
        (np.zeros((2, 2, 2, 3), np.float32), np.full((3, 2), np.inf, np.float32)),
    ],
)
def test_invalid_arrays_are_rejected(
    table: NDArray[np.float32], shaper: NDArray[np.float32] | None
) -> None:
    """Shape, dtype and finiteness are checked when a LUT is made."""
    with pytest.raises(ValueError, match=r"table|shaper"):
        Lut3D(table, shaper)
