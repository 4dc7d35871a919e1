"""LUT files: LUTs that a format cannot hold are resampled, and the loss is measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from app.luts.export import LutOptions
from app.luts.formats import LutFormat
from app.luts.formats.base import Depth
from app.luts.formats.cube import read_cube
from app.luts.lut3d import Lut3D
from app.luts.lut_error import lut_error
from app.policies import LutPolicy
from app.serving.looks import LutCache, export_lut
from app.serving.results import Look
from tests.helpers.networks import make_network, write_network

SHAPER_FORMATS = [
    it for it in LutFormat if it.codec.holds_shaper and Depth.FLOAT32 in it.codec.depths
]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Make a contrasty look that overshoots, with curves before its table."""
    table = np.float32(1.2) * Lut3D.identity(9).table ** 2 - np.float32(0.1)
    curves = np.linspace(0, 1, 20, dtype=np.float32) ** np.array([[0.5], [0.8], [1.5]], np.float32)
    return Look(write_network(tmp_path, make_network("seplut")), "token", Lut3D(table, curves))


@pytest.mark.parametrize("lut_format", SHAPER_FORMATS)
def test_formats_that_hold_a_shaper_lose_nothing(look: Look, lut_format: LutFormat) -> None:
    """The table keeps its size, and no error is reported."""
    file = export_lut(look, LutOptions(format=lut_format))
    assert file.error is None
    assert b"error" not in file.body
    assert file.body.count(b"\n") < 9**3 + 100


def test_a_plain_cube_is_resampled(look: Look) -> None:
    """To 65 points an axis, with the loss in a comment."""
    file = export_lut(look, LutOptions())
    lut = read_cube(file.body.decode())
    assert (lut.size, lut.shaper) == (65, None)
    assert file.error is not None
    assert f"# error in 8-bit levels {file.error}\n".encode() in file.body
    assert file.error.worst == pytest.approx(lut_error(look.lut, lut).worst, abs=1e-3)


def test_a_finer_cube_loses_less(look: Look) -> None:
    """The error falls with the size."""
    errors = [export_lut(look, LutOptions(size=size)).error for size in (17, 33, 129)]
    worst = [error.worst for error in errors if error is not None]
    assert worst[0] > worst[1] > worst[2] > 0


def test_json_states_the_error(look: Look) -> None:
    """As a .cube file does in a comment."""
    file = export_lut(look, LutOptions(format=LutFormat.JSON, size=17))
    assert file.error is not None
    document = orjson.loads(file.body)
    assert document["error"] == {"worst": file.error.worst, "mean": file.error.mean}


@pytest.mark.parametrize("lut_format", SHAPER_FORMATS)
def test_another_size_includes_the_curves_in_the_table(look: Look, lut_format: LutFormat) -> None:
    """A table of another size is only possible without separate curves."""
    file = export_lut(look, LutOptions(format=lut_format, size=5))
    assert file.error is not None
    assert b"LUT_1D" not in file.body
    assert b"LUT1D" not in file.body


def test_clamping_is_a_loss_too(look: Look) -> None:
    """Where the table overshoots, colours nearby change."""
    plain = replace(look, lut=replace(look.lut, shaper=None))
    assert export_lut(plain, LutOptions()).error is None
    file = export_lut(plain, LutOptions(clamp=True))
    table = read_cube(file.body.decode()).table
    assert (table.min(), table.max()) == (0, 1)
    assert file.error is not None
    assert file.error.worst > 1


def test_the_cache_is_bounded(look: Look) -> None:
    """The most recently used files stay; a file larger than the cache is not stored."""
    small, large = LutOptions(size=5), LutOptions(size=33)
    files = {options: export_lut(look, options) for options in (small, large)}
    kept = LutCache(LutPolicy(cache_bytes=20_000))
    for options, file in files.items():
        kept.put(("token", options, False), file)
    assert kept.get(("token", small, False)) is files[small]
    assert kept.get(("token", large, False)) is None
    for number in range(10):
        kept.put((f"token {number}", small, False), files[small])
    assert kept.get(("token", small, False)) is None
    assert kept.currsize <= kept.maxsize
