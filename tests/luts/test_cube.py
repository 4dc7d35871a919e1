from __future__ import annotations

import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from app.errors import BadLutFile
from app.luts.apply import apply
from app.luts.formats.cube import read_cube, write_cube, write_resolve_cube
from app.luts.lut3d import Lut3D

CORNERS = """\
0 0 0
1 0 0
0 1 0
1 1 0
0 0 1
1 0 1
0 1 1
1 1 1
"""
IDENTITY = "LUT_3D_SIZE 2\n" + CORNERS
GREYS = np.linspace(0, 1, 101)


def apply_to_greys(text: str) -> NDArray[np.float64]:
    """Return the green channel of greys after the LUT."""
    return read_cube(text).evaluate(np.repeat(GREYS, 3).reshape(-1, 3))[:, 1]


class TestWriting:
    def test_the_layout_is_that_which_every_program_reads(self) -> None:
        """Comments, title and size come first, then rows, red fastest, with six decimals."""
        table = Lut3D.identity(2).table * np.float32(1.25) - np.float32(0.125)
        written = write_cube(Lut3D(table), title="Warm", comments=["made by hand", "twice"])
        assert written.splitlines() == [
            "# made by hand",
            "# twice",
            'TITLE "Warm"',
            "LUT_3D_SIZE 2",
            "-0.125000 -0.125000 -0.125000",
            "1.125000 -0.125000 -0.125000",
            "-0.125000 1.125000 -0.125000",
            "1.125000 1.125000 -0.125000",
            "-0.125000 -0.125000 1.125000",
            "1.125000 -0.125000 1.125000",
            "-0.125000 1.125000 1.125000",
            "1.125000 1.125000 1.125000",
        ]
        assert written.endswith("\n")
        assert "\r" not in written

    @given(
        table=npst.arrays(
            np.float32, (2, 2, 2, 3), elements=st.floats(-2000, 2000, width=32, allow_nan=False)
        )
    )
    def test_numbers_are_formatted_as_by_printf(self, table: NDArray[np.float32]) -> None:
        """The digits are those of "%.6f", except that zero has no sign."""
        rows = write_cube(Lut3D(table), title="t").splitlines()[2:]
        expected = [
            " ".join(f"{value:.6f}" for value in row) for row in table.reshape(-1, 3).tolist()
        ]
        assert rows == [row.replace("-0.000000", "0.000000") for row in expected]

    @given(title=st.text(), comment=st.text())
    def test_titles_and_comments_stay_in_their_lines(self, title: str, comment: str) -> None:
        """With any text, the header is two lines of at most 250 printable characters."""
        written = write_cube(Lut3D.identity(2), title=title, comments=[comment])
        assert written.isascii()
        first, second, third, *_ = written.split("\n")
        assert first.startswith("# ")
        assert second.startswith('TITLE "')
        assert second.count('"') == 2
        assert third == "LUT_3D_SIZE 2"
        assert max(len(first), len(second)) <= 250
        assert (first + second).isprintable()
        assert read_cube(written).size == 2

    def test_a_long_title_is_truncated(self) -> None:
        """A line has at most 250 bytes."""
        title = write_cube(Lut3D.identity(2), title="x" * 1000).split("\n")[0]
        assert title == f'TITLE "{"x" * 242}"'

    def test_a_shaper_is_rejected(self, adaptive_look: Lut3D) -> None:
        """The LUT must be resampled first."""
        with pytest.raises(ValueError, match="resample"):
            write_cube(adaptive_look, title="t")
        assert write_cube(adaptive_look.resample(4), title="t")


class TestWritingForResolve:
    def test_the_curves_come_before_the_table(self) -> None:
        """The title is a comment; both sizes and ranges come before all rows."""
        curves = np.array([[0, 0.5, 1], [0, 0.25, 1], [1, 0.75, 0]], np.float32)
        lut = Lut3D(Lut3D.identity(2).table, curves)
        written = write_resolve_cube(lut, title="Warm", comments=["made by hand"])
        assert written.splitlines()[:11] == [
            "# Warm",
            "# made by hand",
            "LUT_1D_SIZE 3",
            "LUT_1D_INPUT_RANGE 0.0 1.0",
            "LUT_3D_SIZE 2",
            "LUT_3D_INPUT_RANGE 0.0 1.0",
            "0.000000 0.000000 1.000000",
            "0.500000 0.250000 0.750000",
            "1.000000 1.000000 0.000000",
            "0.000000 0.000000 0.000000",
            "1.000000 0.000000 0.000000",
        ]

    def test_what_is_written_is_read_back(
        self, look: Lut3D, adaptive_look: Lut3D, separable_look: Lut3D
    ) -> None:
        """With curves of any length or without, to six decimals."""
        for lut in (look, adaptive_look, separable_look):
            again = read_cube(write_resolve_cube(lut, title="round trip"))
            np.testing.assert_allclose(again.table, lut.table, atol=1e-6)
            if lut.shaper is None:
                assert again.shaper is None
            else:
                np.testing.assert_allclose(again.shaper, lut.shaper, atol=1e-6)


@given(
    table=st.integers(2, 6).flatmap(
        lambda size: npst.arrays(
            np.float32,
            (size, size, size, 3),
            elements=st.floats(-10, 10, width=32, allow_nan=False),
        )
    )
)
def test_what_is_written_is_read_back(table: NDArray[np.float32]) -> None:
    """Tables of any size are exact to six decimals, with their overshoot."""
    lut = read_cube(write_cube(Lut3D(table), title="round trip", comments=["and back"]))
    assert lut.shaper is None
    np.testing.assert_allclose(lut.table, table, atol=1.5e-6)


class TestReadingAdobe:
    def test_a_plain_3d_table(self) -> None:
        """Red is fastest."""
        lut = read_cube(IDENTITY)
        assert lut.shaper is None
        np.testing.assert_array_equal(lut.table, Lut3D.identity(2).table)

    @pytest.mark.parametrize(
        "text",
        [
            "\ufeff" + IDENTITY,
            IDENTITY.replace("\n", "\r\n"),
            IDENTITY.replace("\n", "\r"),
            IDENTITY.replace(" ", "\t\t"),
            IDENTITY.replace("\n", " \n\n"),
            IDENTITY.removesuffix("\n"),
            IDENTITY.replace("\n", "\n# a comment, a very long one" + 300 * " very" + "\n"),
            'TITLE "first"\nDOMAIN_MAX 1 1 1\n' + IDENTITY,
            "DOMAIN_MIN 0 0 0\nLUT_3D_SIZE 2\nTITLE not quoted\nDOMAIN_MAX 1.0 1.0 1e0\n" + CORNERS,
            IDENTITY.replace("1", "+1.000e0").replace("SIZE 2", "SIZE   2"),
        ],
        ids=[
            "BOM",
            "CRLF",
            "CR",
            "tabs",
            "blanks",
            "no-end",
            "comments",
            "title",
            "order",
            "forms",
        ],
    )
    def test_white_space_order_and_number_format_are_free(self, text: str) -> None:
        """Programs differ in white space, comments, order and number formats."""
        lut = read_cube(text)
        assert lut.shaper is None
        np.testing.assert_array_equal(lut.table, Lut3D.identity(2).table)

    def test_a_domain_spans_the_table(self) -> None:
        """DOMAIN_MIN and DOMAIN_MAX are the ends of the table; inputs beyond are clamped."""
        text = "DOMAIN_MIN 0 0.25 0\nDOMAIN_MAX 1 0.75 1\n" + IDENTITY
        expected = np.clip((GREYS - 0.25) / 0.5, 0, 1)
        np.testing.assert_allclose(apply_to_greys(text), expected, atol=1e-6)

    def test_a_domain_beyond_0_1(self) -> None:
        """Inputs in 0..1 reach a part of the table."""
        text = "DOMAIN_MIN -1 -1 -1\nDOMAIN_MAX 3 3 3\n" + IDENTITY
        np.testing.assert_allclose(apply_to_greys(text), (GREYS + 1) / 4, atol=1e-6)

    def test_a_1d_table_is_three_curves(self) -> None:
        """A 1D table becomes a shaper before the identity, linear between the rows."""
        lut = read_cube("LUT_1D_SIZE 3\n0 0 1\n0.2 0.5 0.5\n1 1 0\n")
        output = lut.evaluate(np.array([[0.25, 0.25, 0.25], [0.75, 0.5, 1.0]]))
        np.testing.assert_allclose(output, [[0.1, 0.25, 0.75], [0.6, 0.5, 0.0]], atol=1e-6)

    def test_a_1d_table_over_a_domain_is_exact_for_pixels(self) -> None:
        """Each 8-bit level is exact, even between the kinks of the curve."""
        text = "LUT_1D_SIZE 4\nDOMAIN_MIN 0.1 0.1 0.1\nDOMAIN_MAX 0.8 0.8 0.8\n"
        text += "".join(f"{value} {value} {value}\n" for value in (0.2, 0.9, 0.1, 0.6))
        levels = np.arange(256, dtype=np.uint8)
        pixels = np.repeat(levels, 3).reshape(1, -1, 3)
        apply(pixels, read_cube(text))
        curve = np.interp(levels / 255, np.linspace(0.1, 0.8, 4), [0.2, 0.9, 0.1, 0.6])
        assert np.abs(pixels[0, :, 1] - 255 * curve).max() < 0.502


class TestReadingResolve:
    def test_a_curve_before_a_table(self) -> None:
        """The rows of the 1D table come first; its outputs are the inputs of the 3D table."""
        text = "LUT_1D_SIZE 3\nLUT_1D_INPUT_RANGE 0 1\nLUT_3D_SIZE 2\nLUT_3D_INPUT_RANGE 0 1\n"
        text += "0 0 0\n0.8 0.8 0.8\n1 1 1\n" + CORNERS.replace("1", "0.5")
        expected = 0.5 * np.interp(GREYS, [0, 0.5, 1], [0, 0.8, 1])
        np.testing.assert_allclose(apply_to_greys(text), expected, atol=1e-6)

    def test_ranges_of_both(self) -> None:
        """The range of the 1D table applies to the inputs, that of the 3D table to its outputs."""
        text = "LUT_3D_SIZE 2\nLUT_3D_INPUT_RANGE 0 2\nLUT_1D_SIZE 2\nLUT_1D_INPUT_RANGE -1 3\n"
        text += "-2 -2 -2\n2 2 2\n" + CORNERS
        expected = np.clip((-2 + 4 * (GREYS + 1) / 4) / 2, 0, 1)
        np.testing.assert_allclose(apply_to_greys(text), expected, atol=1e-6)

    def test_a_range_of_a_3d_table_alone(self) -> None:
        """The range applies to all three channels."""
        text = "LUT_3D_INPUT_RANGE 0.5 1.5\n" + IDENTITY
        np.testing.assert_allclose(apply_to_greys(text), np.clip(GREYS - 0.5, 0, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("", 1, "LUT_3D_SIZE"),
        ("# nothing\n\n", 2, "LUT_3D_SIZE"),
        (CORNERS, 1, "LUT_3D_SIZE"),
        ("LUT_3D_SIZE 2\n0 0 0\n", 2, "8 rows before the end"),
        (IDENTITY + "# one more\n0 0 0\n", 11, "the end of the file after 8 rows"),
        ("LUT_3D_SIZE 2\n0 0\n", 2, "3 finite numbers"),
        ("LUT_3D_SIZE 2\n0 0 0 0\n", 2, "3 finite numbers"),
        ("LUT_3D_SIZE 2\n0 0,5 0\n", 2, "3 finite numbers"),
        ("LUT_3D_SIZE 2\n0 0 nan\n", 2, "3 finite numbers"),
        ("LUT_3D_SIZE 2\n0 0 -inf\n", 2, "3 finite numbers"),
        ("LUT_3D_SIZE 2\n0 0 1e999\n", 2, "3 finite numbers"),
        ("LUT_3D_SIZE 2\n0 0 1e30\n", 2, "3 finite numbers"),
        (IDENTITY + 'TITLE "late"\n', 10, "the end of the file"),
        ("LUT_3D_SIZE 2\n0 0 0\nDOMAIN_MIN 0 0 0\n", 3, "3 finite numbers"),
        ("LUT_3D_SIZE 1\n", 1, "2 to 256"),
        ("LUT_3D_SIZE 257\n", 1, "2 to 256"),
        ("LUT_3D_SIZE 2.5\n", 1, "2 to 256"),
        ("LUT_3D_SIZE -2\n", 1, "2 to 256"),
        ("LUT_3D_SIZE two\n", 1, "a number"),
        ("LUT_3D_SIZE\n", 1, "a number"),
        ("LUT_1D_SIZE 65537\n", 1, "2 to 65536"),
        ("LUT_3D_SIZE 2\nLUT_3D_SIZE 2\n", 2, "only once"),
        ("lut_3d_size 2\n", 1, "LUT_3D_SIZE"),
        ("LUT_3D_SIZE 2\nGAMMA 2.2\n", 2, "one of TITLE"),
        ("nan 0 0\n", 1, "three numbers"),
        ("DOMAIN_MIN 0 0\n" + IDENTITY, 1, "3 finite numbers"),
        ("DOMAIN_MAX 1 0 1\n" + IDENTITY, 1, "ends above its beginning"),
        ("DOMAIN_MIN 0 0 2\n" + IDENTITY, 1, "ends above its beginning"),
        ("DOMAIN_MAX 1 1e-300 1\n" + IDENTITY, 1, "ends above its beginning"),
        ("LUT_3D_INPUT_RANGE 1 0\n" + IDENTITY, 1, "ends above its beginning"),
        ("LUT_1D_INPUT_RANGE 0 1\n" + IDENTITY, 1, "only with LUT_1D_SIZE"),
        ("LUT_3D_INPUT_RANGE 0 1\nDOMAIN_MIN 0 0 0\n" + IDENTITY, 2, "INPUT_RANGE"),
        ("LUT_1D_SIZE 2\nDOMAIN_MIN 0 0 0\n" + IDENTITY, 2, "INPUT_RANGE"),
        ("LUT_3D_SIZE 2\n" + "0" * 251 + " 0 0\n", 2, "250 characters"),
        ("\x00\n", 1, "one of TITLE"),
    ],
)
def test_errors_name_the_line(text: str, line: int, expected: str) -> None:
    """The message has the number of the line, and what was expected there."""
    with pytest.raises(BadLutFile) as caught:
        read_cube(text)
    assert str(caught.value).startswith(f"line {line}: expected ")
    assert expected in str(caught.value)


@given(text=st.text(st.sampled_from("LUT_13D SIZE\n\r\t0.5e-#\x00é"), max_size=200))
def test_any_text_is_read_or_rejected(text: str) -> None:
    """Any text is read, or raises BadLutFile."""
    with suppress(BadLutFile):
        read_cube("LUT_3D_SIZE 2\n" + text)


def test_memory_is_bounded_by_the_length_of_the_text() -> None:
    """A file that announces sixteen million rows and has three takes memory for three."""
    text = "LUT_3D_SIZE 256\n" + 3 * "0 0 0\n"
    tracemalloc.start()
    with pytest.raises(BadLutFile, match="16777216 rows"):
        read_cube(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000
