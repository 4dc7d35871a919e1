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
    """Twenty thousand colours from everywhere in the cube, and its corners."""
    inside = np.random.default_rng(7).random((20_000, 3))
    return np.concatenate([inside, Lut3D.identity(2).table.reshape(-1, 3)])


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("size", [2, 3, 17, 33, 65])
def test_the_identity_answers_each_colour_with_itself(
    size: int, interpolation: Interpolation, colours: NDArray[np.float64]
) -> None:
    """The identity table of any size changes no colour."""
    answers = Lut3D.identity(size).evaluate(colours, interpolation)
    np.testing.assert_allclose(answers, colours, atol=1e-6)


def test_red_is_fastest() -> None:
    """Entries are found at [blue, green, red] and hold red, green, blue."""
    table = np.zeros((2, 2, 2, 3), np.float32)
    table[0, 0, 1] = 0.1, 0.2, 0.3
    assert Lut3D(table).evaluate(np.array([1.0, 0.0, 0.0])) == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_lattice_positions_answer_their_entries(look: Lut3D, interpolation: Interpolation) -> None:
    """At a lattice position there is nothing to interpolate."""
    answers = look.evaluate(Lut3D.identity(look.size).table, interpolation)
    np.testing.assert_allclose(answers, look.table, atol=1e-5)


def test_tetrahedral_interpolation_keeps_greys_apart_from_colours() -> None:
    """Between black and white only these two corners count; trilinear mixes all eight."""
    table = np.zeros((2, 2, 2, 3), np.float32)
    table[1, 1, 1] = 1
    grey = np.full(3, 0.5)
    assert Lut3D(table).evaluate(grey, "tetrahedral") == pytest.approx([0.5] * 3)
    assert Lut3D(table).evaluate(grey, "trilinear") == pytest.approx([0.125] * 3)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_colours_outside_the_cube_are_clamped(look: Lut3D, interpolation: Interpolation) -> None:
    """A LUT is constant outside of 0..1, and what it answers is not clamped."""
    outside, edge = np.array([-0.5, 0.3, 2.0]), np.array([0.0, 0.3, 1.0])
    answer = look.evaluate(outside, interpolation)
    np.testing.assert_array_equal(answer, look.evaluate(edge, interpolation))
    assert answer.min() < 0


def test_a_shaper_bends_the_way_to_the_table(colours: NDArray[np.float64]) -> None:
    """Behind an identity table, what is seen is the shaper, clamped."""
    shaper = np.array([[0, 0.5, 2], [1, 1, 0], [0, 1, 1]], np.float32)
    answers = Lut3D(Lut3D.identity(5).table, shaper).evaluate(colours)
    red, green, blue = colours.T
    expected = [
        np.interp(red, [0, 0.5, 2 / 3, 1], [0, 0.5, 1, 1]),
        np.interp(green, [0.5, 1], [1, 0]),
        np.interp(blue, [0, 0.5], [0, 1]),
    ]
    np.testing.assert_allclose(answers, np.transpose(expected), atol=1e-6)


class TestStrength:
    def test_full_strength_is_the_very_same_look(self, look: Lut3D) -> None:
        """Nothing is computed, so nothing is rounded."""
        assert look.at_strength(1.0) is look

    def test_no_strength_is_the_identity(self, look: Lut3D) -> None:
        """At strength 0 the table is the identity's, exactly."""
        np.testing.assert_array_equal(look.at_strength(0).table, Lut3D.identity(33).table)

    @given(strength=st.floats(-1, 2))
    def test_a_strength_blends_the_table_with_the_identity(self, strength: float) -> None:
        """Strength s is identity + s * residual, also beyond 0..1."""
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
        """An AdaInt lattice holds the identity as well: it stays, and the blend is right."""
        blended = adaptive_look.at_strength(strength)
        assert blended.shaper is adaptive_look.shaper
        answers = adaptive_look.evaluate(colours, interpolation)
        expected = (1 - strength) * colours + strength * answers
        np.testing.assert_allclose(
            blended.evaluate(colours, interpolation), expected, atol=0.25 * LEVEL
        )

    def test_any_other_shaper_goes_into_a_finer_table(
        self, separable_look: Lut3D, colours: NDArray[np.float64]
    ) -> None:
        """Curves that hide part of the inputs cannot carry the identity: the blend resamples."""
        blended = separable_look.at_strength(0.5)
        assert (blended.shaper, blended.size) == (None, 65)
        expected = 0.5 * colours + 0.5 * separable_look.evaluate(colours)
        np.testing.assert_allclose(blended.evaluate(colours), expected, atol=0.5 * LEVEL)


def test_clamping_limits_the_table_alone(look: Lut3D, adaptive_look: Lut3D) -> None:
    """The entries go to 0..1, and a shaper stays."""
    clamped = adaptive_look.clamped()
    np.testing.assert_array_equal(clamped.table, look.table.clip(0, 1))
    assert clamped.shaper is adaptive_look.shaper


class TestResampled:
    @pytest.mark.parametrize("size", [65, 97])
    def test_a_multiple_of_the_lattice_is_exact(
        self, look: Lut3D, size: int, colours: NDArray[np.float64]
    ) -> None:
        """All old positions are among the new ones, so nothing is lost."""
        finer = look.resampled(size).evaluate(colours)
        np.testing.assert_allclose(finer, look.evaluate(colours), atol=1e-5)

    @pytest.mark.parametrize("size", [2, 20, 64, 129])
    def test_the_new_positions_are_exact(self, separable_look: Lut3D, size: int) -> None:
        """Each entry is what the LUT answered there, shaper included."""
        positions = Lut3D.identity(size).table
        expected = separable_look.evaluate(positions)
        resampled = separable_look.resampled(size)
        assert resampled.shaper is None
        np.testing.assert_allclose(resampled.table, expected, atol=1e-5)

    @pytest.mark.parametrize("size", [1, 130])
    def test_other_sizes_are_refused(self, look: Lut3D, size: int) -> None:
        """No program reads them, and their memory grows with the cube."""
        with pytest.raises(ValueError, match=r"2\.\.129"):
            look.resampled(size)


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
def test_arrays_that_are_no_lut_are_refused(
    table: NDArray[np.float32], shaper: NDArray[np.float32] | None
) -> None:
    """Shape, dtype and finiteness are checked once, when a LUT is made."""
    with pytest.raises(ValueError, match=r"table|shaper"):
        Lut3D(table, shaper)
