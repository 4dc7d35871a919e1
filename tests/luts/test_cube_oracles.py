"""ffmpeg and OpenColorIO agree with the reader, the writer and the kernel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.luts.apply import apply
from app.luts.formats.cube import read_cube, write_cube
from app.luts.lut3d import Interpolation, Lut3D
from tests.helpers.oracles import Oracle, apply_ffmpeg, apply_opencolorio
from tests.helpers.published import read_published_look


def assert_agreement(
    lut: Lut3D, oracle: Oracle, interpolation: Interpolation, photo: NDArray[np.uint8], cube: Path
) -> None:
    """Assert that kernel and oracle agree within one level of 8 bits and two of 16 bits.

    ffmpeg truncates where the kernel rounds, and six decimals are 0.03 levels of 16 bits.
    """
    cube.write_text(write_cube(lut, title="An oracle's", comments=["for a test"]), newline="\n")
    deep = photo * np.uint16(257)
    expected = oracle(cube, interpolation, deep).astype(int)
    apply(deep, lut, interpolation)
    assert np.abs(deep - expected).max() <= 2
    apply(photo, lut, interpolation)
    assert np.abs(photo - np.rint(expected / 257)).max() <= 1


@pytest.mark.parametrize("interpolation", ["tetrahedral", "trilinear"])
@pytest.mark.parametrize("oracle", [apply_ffmpeg, apply_opencolorio])
class TestOracles:
    def test_a_look_that_overshoots(
        self,
        look: Lut3D,
        oracle: Oracle,
        interpolation: Interpolation,
        photo: NDArray[np.uint8],
        tmp_path: Path,
    ) -> None:
        """A photograph with a saturated look is the same in every program."""
        assert_agreement(look, oracle, interpolation, photo, tmp_path / "look.cube")

    @pytest.mark.reference
    def test_a_published_look(
        self,
        shared: Path,
        oracle: Oracle,
        interpolation: Interpolation,
        photo: NDArray[np.uint8],
        tmp_path: Path,
    ) -> None:
        """So is a photograph with a table that a published CLUT-Net predicts."""
        lut = read_published_look(shared)
        assert_agreement(lut, oracle, interpolation, photo, tmp_path / "published.cube")


@pytest.mark.parametrize("interpolation", ["tetrahedral", "trilinear"])
@pytest.mark.parametrize(
    "header",
    [
        "LUT_3D_SIZE 3\n",
        "LUT_3D_SIZE 3\nDOMAIN_MIN 0.1 0.2 -0.3\nDOMAIN_MAX 0.9 1.5 0.8\n",
        "LUT_3D_SIZE 3\nLUT_3D_INPUT_RANGE 0.1 0.8\n",
        "LUT_1D_SIZE 9\n",
        "LUT_1D_SIZE 9\nDOMAIN_MIN 0.1 0.2 -0.3\nDOMAIN_MAX 0.9 1.5 0.8\n",
        "LUT_1D_SIZE 9\nLUT_1D_INPUT_RANGE -0.1 0.9\n",
        "LUT_1D_SIZE 9\nLUT_1D_INPUT_RANGE -0.1 0.9\nLUT_3D_SIZE 3\nLUT_3D_INPUT_RANGE 0.1 0.8\n",
    ],
)
def test_both_dialects_are_read_as_by_opencolorio(
    header: str, interpolation: Interpolation, tmp_path: Path
) -> None:
    """1D and 3D tables, domains and ranges agree within one level of 16 bits."""
    random = np.random.default_rng(5)
    rows = 9 * ("LUT_1D_SIZE" in header) + 27 * ("LUT_3D_SIZE" in header)
    text = header + "".join(f"{r:.6f} {g:.6f} {b:.6f}\n" for r, g, b in random.random((rows, 3)))
    cube = tmp_path / "table.cube"
    cube.write_text(text)
    pixels = random.integers(0, 65535, (50, 100, 3), np.uint16, endpoint=True)
    expected = apply_opencolorio(cube, interpolation, pixels).astype(int)
    apply(pixels, read_cube(text), interpolation)
    assert np.abs(pixels - expected).max() <= 1
