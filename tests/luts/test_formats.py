"""The registry of LUT file formats."""

from __future__ import annotations

from contextlib import suppress
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import BadLutFile
from app.luts.export import LutOptions, choose_size, encode_lut
from app.luts.formats import LutFormat, base, formats_by_suffix
from app.luts.formats.base import Depth, LutMetadata
from app.luts.lut3d import Lut3D
from app.luts.lut_error import ErrorStats, lut_error
from tests.helpers.paths import ROOT

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


@every_format
def test_the_document_lists_the_format(lut_format: LutFormat) -> None:
    """docs/lut-formats.md has a row for each format."""
    assert f"\n| `{lut_format}` | " in (ROOT / "docs" / "lut-formats.md").read_text()


def test_one_compilation_serves_every_format(separable_look: Lut3D) -> None:
    """A server compiles the text formatter at its start, not in a request."""
    for lut_format in LutFormat:
        encode_lut(separable_look, LutOptions(format=lut_format), LutMetadata(title="t"))
    assert len(base._write.signatures) == 1


@pytest.mark.parametrize(
    ("lut_format", "depth"),
    [(it, depth) for it in LutFormat if it.codec.read for depth in it.codec.depths],
)
def test_what_is_written_is_read_back(lut_format: LutFormat, depth: Depth, look: Lut3D) -> None:
    """A reader returns the table that the writer of its format encoded."""
    codec = lut_format.codec
    options = LutOptions(format=lut_format, depth=depth)
    size = choose_size(look.size, False, options)
    held = depth.round(look.resample(size).table if size != look.size else look.table)
    assert codec.read is not None
    again = codec.read(encode_lut(look, options, LutMetadata(title="round trip")).body)
    if lut_format is LutFormat.ICC:  # sampled at 65 positions, of which these are every second
        again = Lut3D(np.ascontiguousarray(again.table[::2, ::2, ::2]))
    assert again.shaper is None
    np.testing.assert_allclose(again.table, held, atol=2e-5 if depth is Depth.UINT16 else 1e-6)


@pytest.mark.parametrize("name", ["adaptive_look", "separable_look"])
@pytest.mark.parametrize("lut_format", [it for it in LutFormat if it.codec.holds_shaper])
def test_a_shaper_is_read_back(
    lut_format: LutFormat, name: str, request: pytest.FixtureRequest
) -> None:
    """Formats with a shaper lose neither the curves nor the table."""
    lut: Lut3D = request.getfixturevalue(name)
    held = Lut3D(lut.table.clip(0, 1), lut.shaper) if lut_format is LutFormat.ICC else lut
    codec = lut_format.codec
    assert codec.read is not None
    options = LutOptions(format=lut_format)
    again = codec.read(encode_lut(lut, options, LutMetadata(title="t")).body)
    error = lut_error(held, again)
    assert error.worst < 2.5
    assert error.mean < (0.1 if lut_format is LutFormat.ICC else 0.005)


OWN_READERS = [LutFormat.CUBE, LutFormat.VLT, LutFormat.JSON, LutFormat.BIN, LutFormat.HALD]
OWN_READERS += [LutFormat.STRIP, pytest.param(LutFormat.ICC, marks=pytest.mark.slow)]


@cache
def valid_file(lut_format: LutFormat) -> bytes:
    """Write a small identity."""
    options = LutOptions(format=lut_format, size=17 if lut_format is LutFormat.VLT else 4)
    return encode_lut(Lut3D.identity(4), options, LutMetadata(title="t")).body


@pytest.mark.parametrize("lut_format", OWN_READERS)
@settings(max_examples=40)  # reading an ICC profile takes 50 ms
@given(data=st.binary(max_size=300), cut=st.integers(0, 400), flips=st.integers(0, 2**32 - 1))
def test_any_bytes_are_read_or_rejected(
    lut_format: LutFormat, data: bytes, cut: int, flips: int
) -> None:
    """Random bytes, truncated files and changed files are read, or raise BadLutFile."""
    read = lut_format.codec.read
    assert read is not None
    body = bytearray(valid_file(lut_format))
    random = np.random.default_rng(flips)
    body[random.integers(len(body))] = random.integers(256)
    for damaged in (data, bytes(body), bytes(body[:cut])):
        with suppress(BadLutFile):
            read(damaged)


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
