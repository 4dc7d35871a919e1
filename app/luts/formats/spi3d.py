"""The .spi3d format of Sony Pictures Imageworks: a row of indices and colours for each entry.

Source: OpenColorIO, whose first format it was: `SPILUT 1.0`, the numbers of channels, the sizes of
the axes, and rows in any order. Programs stop reading after the last row.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import product

from app.luts.formats.base import LutCodec
from app.luts.formats.opencolorio import read_with_opencolorio
from app.luts.formats.text_format import comment, format_triples, text_writer
from app.luts.lut3d import Lut3D


def write_spi3d(lut: Lut3D, *, title: str, comments: Iterable[str] = ()) -> str:
    """Write a .spi3d file.

    Args:
        lut: without a shaper.
        title: for the first comment, which follows the rows.
        comments: for the comments after it.
    """
    colours = format_triples(lut.table.transpose(2, 1, 0, 3).reshape(-1, 3)).splitlines()
    indices = product(range(lut.size), repeat=3)  # red, green, blue; blue fastest
    rows = [f"{r} {g} {b} {row}" for (r, g, b), row in zip(indices, colours, strict=True)]
    size = " ".join(3 * [str(lut.size)])
    lines = ["SPILUT 1.0", "3 3", size, *rows, *map(comment, (title, *comments))]
    return "\n".join(lines) + "\n"


CODEC = LutCodec(
    name="spi3d",
    suffix=".spi3d",
    media_type="text/plain; charset=us-ascii",
    description=".spi3d of Sony Pictures Imageworks",
    write=text_writer(write_spi3d),
    read=partial(read_with_opencolorio, ".spi3d"),
)
