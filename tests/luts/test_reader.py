"""Files that other programs wrote are read as these programs apply them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import PyOpenColorIO as ocio  # noqa: N813
import pytest

from app.errors import BadLutFile
from app.luts.formats import read_lut
from app.luts.lut3d import Lut3D
from tests.helpers.oracles import needs_imagemagick

COLOURS = np.random.default_rng(5).random((5000, 3))
GRADE = ocio.GroupTransform(
    [
        ocio.CDLTransform(slope=[0.9, 0.8, 0.7], offset=[0.02, 0.05, 0.0], power=[1.1, 0.9, 1.3]),
        ocio.MatrixTransform([0.8, 0.2, 0, 0, 0.1, 0.9, 0, 0, 0, 0.1, 0.9, 0, 0, 0, 0, 1]),
    ]
)
CURVES = ocio.CDLTransform(slope=[0.9, 0.8, 0.7], power=[1.1, 0.9, 1.3])


def apply(transform: ocio.Transform, colours: np.ndarray) -> np.ndarray:
    """Apply a transform to colours (N, 3)."""
    output = colours.astype(np.float32)
    ocio.Config.CreateRaw().getProcessor(transform).getDefaultCPUProcessor().applyRGB(output)
    return output


def bake(transform: ocio.Transform, baked_format: str, file: Path, shaper: str = "") -> Path:
    """Write a transform to a LUT file with OpenColorIO; `shaper` names a space before the cube."""
    config = ocio.Config()
    config.addColorSpace(ocio.ColorSpace(name="in"))
    config.addColorSpace(ocio.ColorSpace(name="out", fromReference=transform))
    log = ocio.ExponentTransform([0.5, 0.5, 0.5, 1])
    config.addColorSpace(ocio.ColorSpace(name="shaped", fromReference=log))
    config.setRole("default", "in")
    baker = ocio.Baker()
    baker.setConfig(config)
    baker.setFormat(baked_format)
    baker.setInputSpace("in")
    baker.setTargetSpace("out")
    if shaper:
        baker.setShaperSpace(shaper)
    baker.setCubeSize(33)
    file.write_text(baker.bake())
    return file


@pytest.mark.parametrize(
    ("baked_format", "suffix", "tolerance"),
    [
        ("iridas_cube", ".cube", 1e-5),
        ("resolve_cube", ".cube", 1e-5),
        ("cinespace", ".csp", 1e-5),
        ("Academy/ASC Common LUT Format", ".clf", 1e-5),
        ("Color Transform Format", ".ctf", 1e-5),
        ("lustre", ".3dl", 2e-4),
        ("flame", ".3dl", 2e-4),
        ("spi3d", ".spi3d", 1e-5),
        ("iridas_itx", ".itx", 1e-5),
        ("truelight", ".cub", 1e-5),
    ],
)
def test_a_baked_table(baked_format: str, suffix: str, tolerance: float, tmp_path: Path) -> None:
    """The table has the colours of the transform; integers of 12 bits are less exact."""
    lut = read_lut(bake(GRADE, baked_format, tmp_path / f"baked{suffix}"))
    positions = Lut3D.identity(33).table.reshape(-1, 3)
    expected = apply(GRADE, positions)
    np.testing.assert_allclose(lut.evaluate(positions), expected, atol=tolerance)


@pytest.mark.parametrize(
    ("baked_format", "suffix"),
    [
        ("resolve_cube", ".cube"),
        ("cinespace", ".csp"),
        ("Academy/ASC Common LUT Format", ".clf"),
        ("houdini", ".lut"),
    ],
)
def test_a_baked_shaper(baked_format: str, suffix: str, tmp_path: Path) -> None:
    """Curves before the table are kept, and the result is that of OpenColorIO."""
    file = bake(GRADE, baked_format, tmp_path / f"baked{suffix}", "shaped")
    lut = read_lut(file)
    assert lut.size == 33
    assert lut.shaper is not None
    expected = apply(ocio.FileTransform(str(file), interpolation=ocio.INTERP_LINEAR), COLOURS)
    np.testing.assert_allclose(lut.evaluate(COLOURS), expected, atol=1e-3)


def test_curves_alone(tmp_path: Path) -> None:
    """A 1D table becomes a shaper before the identity."""
    lut = read_lut(bake(CURVES, "spi1d", tmp_path / "baked.spi1d"))
    assert lut.size == 2
    np.testing.assert_allclose(lut.evaluate(COLOURS), apply(CURVES, COLOURS), atol=2e-3)


def test_a_list_without_a_table_is_sampled(tmp_path: Path) -> None:
    """A .clf file of a matrix and curves becomes a table of 65 points on an axis."""
    group = ocio.Config.CreateRaw().getProcessor(GRADE).createGroupTransform()
    file = tmp_path / "grade.clf"
    file.write_text(group.write("Academy/ASC Common LUT Format", ocio.Config.CreateRaw()))
    lut = read_lut(file)
    assert (lut.size, lut.shaper) == (65, None)
    np.testing.assert_allclose(lut.evaluate(COLOURS), apply(GRADE, COLOURS), atol=2e-3)


@needs_imagemagick
def test_a_hald_of_imagemagick(tmp_path: Path) -> None:
    """ImageMagick's HALD of level 4, darkened, is a table of 16 points on an axis."""
    file = tmp_path / "hald.png"
    command = ["convert", "hald:4", "-evaluate", "multiply", "0.5", "-depth", "16", f"PNG48:{file}"]
    subprocess.run(command, check=True)
    lut = read_lut(file)
    np.testing.assert_allclose(lut.table, 0.5 * Lut3D.identity(16).table, atol=3e-5)


def test_a_strip_of_pillow(tmp_path: Path) -> None:
    """A strip whose green rises upwards, as Unity's, is turned."""
    from PIL import Image

    size = 16
    strip = Image.new("RGB", (size**2, size))
    for x in range(size**2):
        for y in range(size):
            red, green, blue = x % size, size - 1 - y, x // size
            strip.putpixel((x, y), (red * 17, green * 17, blue * 17))
    strip.save(tmp_path / "unity.png")
    lut = read_lut(tmp_path / "unity.png")
    np.testing.assert_allclose(lut.table, Lut3D.identity(size).table, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", b"", "LUT files end in one of .cube, .csp, .clf"),
        ("a.cube", b"hello\n", "line 1: expected three numbers or one of TITLE"),
        ("a.vlt", b"LUT_3D_SIZE 17\n1 2\n", "line 2: expected 3 finite numbers"),
        ("a.clf", b"<ProcessList>", "Required attribute 'id' is missing"),
        ("a.3dl", b"hello\n", "Error parsing .3dl file"),
        ("a.look", b"<look></look>", "look"),
        ("a.spi3d", b"hello\n", "expected 'SPILUT'"),
        ("a.icc", b"hello\n", "expected an ICC device link"),
        ("a.png", b"hello\n", "expected a PNG file"),
        ("a.bin", b"hello\n", "expected a header of 16 bytes"),
        ("a.json", b"[]", "expected a JSON object"),
    ],
)
def test_damaged_files(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    """The message is one line that begins with the name of the file."""
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(BadLutFile) as caught:
        read_lut(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert reason.lower() in message.lower()
    assert "\n" not in message


def test_a_missing_opencolorio_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the formats that OpenColorIO reads raise an error that names it."""
    monkeypatch.setitem(sys.modules, "PyOpenColorIO", None)
    file = tmp_path / "a.clf"
    file.write_bytes(b"")
    with pytest.raises(BadLutFile, match=r"pip install 'clut-enhance\[luts\]'"):
        read_lut(file)
