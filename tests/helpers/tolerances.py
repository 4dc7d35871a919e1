"""Comparisons that allow for rounding, which differs between processors, threads and alignments.

A matrix product rounds by instruction set, number of threads and the alignment of its operands, so
no two runs of a network have to agree in the last bits, not even in one process.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from app.luts.formats.cube import read_cube
from app.luts.token import LookToken

TABLE = 1e-5  # of LUT entries, about 0..1: as the README states of replicas
CODE = 1e-4  # of code values, whose basis tables have entries of about 0.1


def assert_same_look(one: str, other: str) -> None:
    """Compare two look tokens: one model, and codes that differ by at most 1e-4."""
    first, second = LookToken.decode(one), LookToken.decode(other)
    assert first.fingerprint == second.fingerprint
    np.testing.assert_allclose(first.code, second.code, rtol=CODE, atol=CODE)


def assert_same_lut(one: str, other: str) -> None:
    """Compare two .cube files: equal sizes, and values that differ by at most 1e-5."""
    first, second = read_cube(one), read_cube(other)
    np.testing.assert_allclose(first.table, second.table, rtol=0, atol=TABLE)
    assert (first.shaper is None) == (second.shaper is None)
    if first.shaper is not None and second.shaper is not None:
        np.testing.assert_allclose(first.shaper, second.shaper, rtol=0, atol=TABLE)


def assert_same_pixels(one: bytes, other: bytes) -> None:
    """Compare two images of a lossless format: values differ by at most one level."""
    first, second = (np.asarray(Image.open(io.BytesIO(it))).astype(int) for it in (one, other))
    np.testing.assert_allclose(first, second, rtol=0, atol=1)
