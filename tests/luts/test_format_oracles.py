"""Independent programs apply the files of every format as the kernel applies the LUT."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import PyOpenColorIO as ocio  # noqa: N813
import pytest
from numpy.typing import NDArray

from app.luts.apply import apply
from app.luts.export import LutOptions, encode_lut
from app.luts.formats import LutFormat
from app.luts.formats.base import Depth, GreenAxis, LutMetadata
from app.luts.lut3d import Interpolation, Lut3D
from tests.helpers.oracles import (
    apply_ffmpeg_hald,
    apply_imagemagick,
    apply_littlecms,
    apply_opencolorio,
    apply_pillow_strip,
    needs_imagemagick,
    sample_texture,
)

Apply = Callable[[Path, NDArray[np.uint16]], NDArray]
LEVEL = 257  # an 8-bit level, in 16 bits
METADATA = LutMetadata(title="An oracle's", model="a@1", look="token")


def write_file(lut: Lut3D, options: LutOptions, folder: Path) -> Path:
    """Write a LUT to a file."""
    file = folder / f"lut{options.format.codec.suffix}"
    file.write_bytes(encode_lut(lut, options, METADATA).body)
    return file


def assert_agreement(
    file: Path,
    lut: Lut3D,
    oracle: Apply,
    photo: NDArray[np.uint8],
    interpolation: Interpolation,
    tolerance: float,
) -> None:
    """Assert that the oracle and the kernel agree within a tolerance in 8-bit levels."""
    deep = photo * np.uint16(LEVEL)
    expected = deep.copy()
    apply(expected, lut, interpolation)
    assert np.abs(oracle(file, deep).astype(int) - expected).max() <= tolerance * LEVEL


def apply_with_opencolorio(file: Path, pixels: NDArray[np.uint16]) -> NDArray:
    """Apply a file tetrahedrally."""
    return apply_opencolorio(file, "tetrahedral", pixels)


@pytest.mark.parametrize(
    ("lut_format", "tolerance"),
    [(LutFormat.THREEDL, 0.15), (LutFormat.SPI3D, 0.02), (LutFormat.LOOK, 0.02)],
)
def test_opencolorio_reads_tables(
    lut_format: LutFormat,
    tolerance: float,
    look: Lut3D,
    photo: NDArray[np.uint8],
    tmp_path: Path,
) -> None:
    """The tolerance of .3dl is half a step of 12 bits; the others hold overshoot as well."""
    file = write_file(look, LutOptions(format=lut_format), tmp_path)
    held = look.clamp() if lut_format is LutFormat.THREEDL else look
    assert_agreement(file, held, apply_with_opencolorio, photo, "tetrahedral", tolerance)


@pytest.mark.parametrize("size", [16, 36, 64])
def test_ffmpeg_reads_a_hald(
    size: int, look: Lut3D, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    """The filter haldclut agrees at the levels 4, 6 and 8."""
    file = write_file(look, LutOptions(format=LutFormat.HALD, size=size), tmp_path)
    held = look.resample(size).clamp()
    assert_agreement(file, held, apply_ffmpeg_hald, photo, "tetrahedral", 0.02)


@needs_imagemagick
def test_imagemagick_reads_a_hald(look: Lut3D, photo: NDArray[np.uint8], tmp_path: Path) -> None:
    """-hald-clut interpolates in another way, which differs by up to a level."""
    file = write_file(look, LutOptions(format=LutFormat.HALD), tmp_path)

    def apply_hald(file: Path, pixels: NDArray[np.uint16]) -> NDArray:
        return apply_imagemagick(pixels, file, "-hald-clut")

    assert_agreement(file, look.resample(36).clamp(), apply_hald, photo, "tetrahedral", 1)


@needs_imagemagick
def test_imagemagick_reads_a_device_link(
    look: Lut3D, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    """-profile applies a device link to an image."""
    file = write_file(look, LutOptions(format=LutFormat.ICC), tmp_path)

    def apply_link(file: Path, pixels: NDArray[np.uint16]) -> NDArray:
        return apply_imagemagick(pixels, "-profile", file)

    assert_agreement(file, look.clamp(), apply_link, photo, "tetrahedral", 0.05)


@pytest.mark.parametrize("name", ["look", "adaptive_look", "separable_look"])
def test_littlecms_reads_a_device_link(
    name: str, photo: NDArray[np.uint8], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Curves become input tables, so the file holds all LUTs but for their overshoot."""
    lut: Lut3D = request.getfixturevalue(name)
    file = write_file(lut, LutOptions(format=LutFormat.ICC), tmp_path)
    assert_agreement(file, lut.clamp(), apply_littlecms, photo, "tetrahedral", 0.05)


@pytest.mark.parametrize("green", GreenAxis)
def test_pillow_reads_a_strip(
    green: GreenAxis, look: Lut3D, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    """Each pixel of the strip is where game engines look for it; the entries have 8 bits."""
    options = LutOptions(format=LutFormat.STRIP, size=32, green=green)

    def apply_strip(file: Path, pixels: NDArray[np.uint16]) -> NDArray:
        return apply_pillow_strip(file, pixels, up=green is GreenAxis.UP)

    file = write_file(look, options, tmp_path)
    held = look.resample(32).clamp()
    assert_agreement(file, held, apply_strip, photo, "trilinear", 1)


@pytest.mark.parametrize(
    ("depth", "tolerance"), [(Depth.FLOAT16, 0.1), (Depth.UINT8, 0.6)], ids=str
)
def test_torch_samples_a_3d_texture(
    depth: Depth, tolerance: float, look: Lut3D, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    """The colours after the header are a 3D texture in width, height and depth order."""
    file = write_file(look, LutOptions(format=LutFormat.BIN, depth=depth), tmp_path)
    held = look if depth is Depth.FLOAT16 else look.clamp()
    assert_agreement(file, held, sample_texture, photo, "trilinear", tolerance)


def test_the_rows_of_a_vlt_are_those_of_a_cube(look: Lut3D, tmp_path: Path) -> None:
    """No independent program reads .vlt; OpenColorIO reads the rows as those of a .cube file."""
    file = write_file(look, LutOptions(format=LutFormat.VLT), tmp_path)
    cube = file.rename(file.with_suffix(".cube"))
    processor = ocio.Config.CreateRaw().getProcessor(ocio.FileTransform(str(cube)))
    (transform,) = processor.createGroupTransform()
    table = transform.getData().reshape(17, 17, 17, 3).transpose(2, 1, 0, 3) / 4095
    np.testing.assert_allclose(table, look.resample(17).clamp().table, atol=0.51 / 4095)
