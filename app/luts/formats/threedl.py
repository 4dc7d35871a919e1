"""The .3dl format of Autodesk Lustre and Flame: a mesh of 12-bit integers, blue fastest.

Source: Autodesk, "Lustre Color Management User Guide". `Mesh 5 12` announces 2^5 + 1 lattice
points on an axis and 12 bits; the line after it has the inputs of the points in 10 bits. Readers
that ignore `Mesh`, such as OpenColorIO, infer the depth from the largest entry, which has to be at
least 0.5.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from app.luts.formats.base import (
    Depth,
    LutCodec,
    LutLayout,
    LutMetadata,
    format_comment,
    format_integers,
)
from app.luts.formats.opencolorio import read_with_opencolorio
from app.luts.lut3d import Lut3D


def write_3dl(lut: Lut3D, metadata: LutMetadata, layout: LutLayout) -> bytes:
    """Write a .3dl file for Lustre, which Flame reads as well.

    Args:
        lut: without a shaper, of 2^n + 1 lattice points on an axis.
        metadata: for comments.
        layout: of 12 bits.
    """
    inputs = np.rint(np.linspace(0, 1023, lut.size)).astype(int)
    lines = [
        *map(format_comment, (metadata.title, *metadata.comments)),
        "3DMESH",
        f"Mesh {(lut.size - 1).bit_length() - 1} 12",
        " ".join(map(str, inputs)),
    ]
    entries = layout.depth.to_integers(lut.table.transpose(2, 1, 0, 3).reshape(-1, 3))
    text = "\n".join(lines) + "\n" + format_integers(entries) + "\nLUT8\ngamma 1.0\n"
    return text.encode("ascii")


CODEC = LutCodec(
    name="3dl",
    suffix=".3dl",
    media_type="text/plain; charset=us-ascii",
    description=".3dl of Autodesk Lustre and Flame, 12-bit integers",
    write=write_3dl,
    read=partial(read_with_opencolorio, ".3dl"),
    sizes=tuple(2**bits + 1 for bits in range(1, 8)),
    depths=(Depth.UINT12,),
)
