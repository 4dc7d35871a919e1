"""The .vlt format of Panasonic cameras: 17 positions on an axis, 12-bit integers, red fastest.

Source: files written by Panasonic's programs. Cameras accept exactly these comments, and no title.
"""

from __future__ import annotations

import numpy as np

from app.luts.formats.base import Depth, LutCodec, LutLayout, LutMetadata
from app.luts.formats.cube import read_cube
from app.luts.formats.text_format import format_integers, make_text_reader
from app.luts.lut3d import Lut3D

_HEADER = '# panasonic vlt file version 1.0\n# source vlt file ""\n'
_TOP = 4095


def write_vlt(lut: Lut3D, _: LutMetadata, layout: LutLayout) -> bytes:
    """Write a .vlt file of a LUT of 17 positions without a shaper."""
    entries = layout.depth.to_integers(lut.table.reshape(-1, 3))
    return f"{_HEADER}LUT_3D_SIZE {lut.size}\n\n{format_integers(entries)}".encode("ascii")


def read_vlt(text: str) -> Lut3D:
    """Read a .vlt file, which is a .cube file of integers.

    Raises:
        BadLutFile: with the number of the line, and what was expected there.
    """
    lut = read_cube(text)
    return Lut3D(lut.table / np.float32(_TOP), lut.shaper)


CODEC = LutCodec(
    name="vlt",
    suffix=".vlt",
    media_type="text/plain; charset=us-ascii",
    description=".vlt of Panasonic cameras, 12-bit integers",
    write=write_vlt,
    read=make_text_reader(read_vlt),
    sizes=(17,),
    depths=(Depth.UINT12,),
)
