"""The .csp format of cineSpace, which holds a shaper before the table.

Source: Rising Sun Research, "cineSpace LUT file format", version 1.00: a line for the version,
one for the kind, metadata, a pre-LUT for each channel as a row of inputs over a row of outputs,
and the table, red fastest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from app.luts.formats.base import LutCodec, format_comment, format_triples, make_text_writer
from app.luts.formats.opencolorio import read_with_opencolorio
from app.luts.lut3d import Lut3D

# Readers differ in how they interpolate between the points of a pre-LUT (OpenColorIO fits a
# spline), so a pre-LUT has one point for each 8-bit level.
_LEVELS = np.linspace(0, 1, 256)
_ENDS = np.linspace(0, 1, 2)


def write_csp(lut: Lut3D, *, title: str, comments: Iterable[str] = ()) -> str:
    """Write a .csp file; with a shaper it is exact for 8-bit colours, without one for all.

    Args:
        lut: with a shaper or without.
        title: for the first line of the metadata.
        comments: for the lines after it.
    """
    lines = ["CSPLUTV100", "3D", "", "BEGIN METADATA"]
    lines += [format_comment(line) for line in (title, *comments)]  # the mark hides an END METADATA
    lines += ["END METADATA", "", *_format_pre_lut(lut.shaper), "", " ".join(3 * [str(lut.size)])]
    return "\n".join(lines) + "\n" + format_triples(lut.table.reshape(-1, 3))


CODEC = LutCodec(
    name="csp",
    suffix=".csp",
    media_type="text/plain; charset=us-ascii",
    description=".csp of cineSpace",
    write=make_text_writer(write_csp),
    read=partial(read_with_opencolorio, ".csp"),
    holds_shaper=True,
)


def _format_pre_lut(shaper: NDArray[np.float32] | None) -> Iterator[str]:
    inputs = _ENDS if shaper is None else _LEVELS
    for curve in [_ENDS] * 3 if shaper is None else shaper:
        yield str(len(inputs))
        yield _format_numbers(inputs)
        yield _format_numbers(np.interp(inputs, np.linspace(0, 1, len(curve)), curve))


def _format_numbers(values: NDArray[np.floating]) -> str:
    return " ".join(f"{value:.6f}" for value in values)
