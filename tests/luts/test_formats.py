"""The registry of LUT file formats."""

from __future__ import annotations

import numpy as np
import pytest

from app.luts.formats import LutFormat, formats_by_suffix
from app.luts.formats.base import LutMetadata
from app.luts.lut3d import Lut3D
from app.luts.lut_error import ErrorStats

every_format = pytest.mark.parametrize("lut_format", LutFormat)


@every_format
def test_a_format_is_found_by_name(lut_format: LutFormat) -> None:
    """A member is equal to its name, and looked up by it."""
    assert LutFormat(lut_format.codec.name) is lut_format
    assert f"{lut_format}" == lut_format.codec.name


def test_a_suffix_stands_for_the_format_listed_first() -> None:
    """The dialect of Adobe owns the suffix .cube, and no format is without a suffix."""
    assert formats_by_suffix()[".cube"] is LutFormat.CUBE
    assert formats_by_suffix().keys() == {it.codec.suffix for it in LutFormat}
    assert all(suffix.startswith(".") for suffix in formats_by_suffix())


@pytest.mark.parametrize("lut_format", [it for it in LutFormat if it.codec.read])
def test_what_is_written_is_read_back(lut_format: LutFormat, look: Lut3D) -> None:
    """A reader returns the table that the writer of its format encoded."""
    codec = lut_format.codec
    assert codec.read is not None
    again = codec.read(codec.write(look, LutMetadata(title="round trip")))
    assert again.shaper is None
    np.testing.assert_allclose(again.table, look.table, atol=1e-6)


def test_metadata_that_is_missing_has_no_comment() -> None:
    """A LUT without a model, a look and an error states its strength alone."""
    assert LutMetadata(title="t").comments == ["strength 1"]
    full = LutMetadata("t", model="a@1", look="token", strength=0.5, error=ErrorStats(2.6, 0.2))
    assert full.comments == [
        "model a@1",
        "strength 0.5",
        "look token",
        "error in 8-bit levels max=2.6, mean=0.20",
    ]
