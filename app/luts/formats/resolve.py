"""The .cube dialect of Blackmagic DaVinci Resolve, which may hold a 1D table before a 3D one."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from app.luts.formats import cube
from app.luts.formats.base import LutCodec
from app.luts.formats.text_format import format_comment, format_triples, make_text_writer
from app.luts.lut3d import Lut3D


def write_resolve_cube(lut: Lut3D, *, title: str, comments: Iterable[str] = ()) -> str:
    """Write a .cube file of Resolve's dialect; a shaper becomes the 1D table.

    Args:
        lut: with a shaper or without.
        title: for the first comment; the dialect has no TITLE line.
        comments: for the lines after it, as in `write_cube`.
    """
    header = [format_comment(line) for line in (title, *comments)]
    entries = lut.table.reshape(-1, 3)
    if lut.shaper is not None:
        header += [f"LUT_1D_SIZE {lut.shaper.shape[1]}", "LUT_1D_INPUT_RANGE 0.0 1.0"]
        entries = np.concatenate([lut.shaper.T, entries])
    header += [f"LUT_3D_SIZE {lut.size}", "LUT_3D_INPUT_RANGE 0.0 1.0"]
    return "\n".join(header) + "\n" + format_triples(entries)


CODEC = LutCodec(
    name="resolve",
    suffix=".cube",
    media_type="text/plain; charset=us-ascii",
    description=".cube of DaVinci Resolve: a 1D before a 3D table",
    write=make_text_writer(write_resolve_cube),
    read=cube.CODEC.read,  # one reader for both dialects
    holds_shaper=True,
)
