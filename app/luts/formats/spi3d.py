"""The .spi3d format of Sony Pictures Imageworks: a row of indices and colours for each entry.

Source: OpenColorIO, whose first format it was: `SPILUT 1.0`, the numbers of channels, the sizes of
the axes, and rows in any order. Programs stop reading after the last row.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np

from app.luts.formats.base import LutCodec, format_comment, format_rows, make_text_writer
from app.luts.formats.opencolorio import read_with_opencolorio
from app.luts.lut3d import Lut3D


def write_spi3d(lut: Lut3D, *, title: str, comments: Iterable[str] = ()) -> str:
    """Write a .spi3d file.

    Args:
        lut: without a shaper.
        title: for the first comment, which follows the rows.
        comments: for the comments after it.
    """
    table = lut.table.transpose(2, 1, 0, 3)  # blue is fastest
    indices = np.indices(table.shape[:3], np.uint16).reshape(3, -1).T
    rows = format_rows(indices, table.reshape(-1, 3))
    notes = "\n".join(map(format_comment, (title, *comments)))
    return f"SPILUT 1.0\n3 3\n{lut.size} {lut.size} {lut.size}\n{rows}{notes}\n"


CODEC = LutCodec(
    name="spi3d",
    suffix=".spi3d",
    media_type="text/plain; charset=us-ascii",
    description=".spi3d of Sony Pictures Imageworks",
    write=make_text_writer(write_spi3d),
    read=partial(read_with_opencolorio, ".spi3d"),
)
