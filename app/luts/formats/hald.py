"""The HALD CLUT: a square PNG whose pixels are the entries of a table, red fastest.

Source: Eskil Steenberg, "Hald CLUT" (quelsolaar.com/technology/clut.html). A HALD of level L has
L^3 pixels on a side and holds L^2 lattice points on an axis. ImageMagick, ffmpeg, GIMP (G'MIC),
darktable and RawTherapee read it.
"""

from __future__ import annotations

from app.errors import BadLutFile
from app.luts.formats.base import Depth, LutCodec, LutLayout, LutMetadata
from app.luts.formats.png import decode_png, encode_png, read_size
from app.luts.lut3d import Lut3D

_LEVELS = {level**3: level for level in range(2, 17)}  # by the side of the image


def write_hald(lut: Lut3D, metadata: LutMetadata, layout: LutLayout) -> bytes:
    """Write a LUT of L^2 positions on an axis without a shaper as a PNG of 8 or 16 bits."""
    side = round(lut.size**1.5)
    return encode_png(lut.table.reshape(side, side, 3), metadata, layout)


def read_hald(data: bytes) -> Lut3D:
    """Read a HALD of level 2 to 16.

    Raises:
        BadLutFile: the file is damaged, or no image of such a size.
    """
    width, height = read_size(data)
    if width != height or width not in _LEVELS:
        raise BadLutFile(f"expected L^3 pixels on a side, L from 2 to 16, not {width}x{height}")
    size = _LEVELS[width] ** 2
    return Lut3D(decode_png(data).reshape(size, size, size, 3))


CODEC = LutCodec(
    name="hald",
    suffix=".png",
    media_type="image/png",
    description="HALD CLUT, a square PNG; `size` is the square of the level",
    write=write_hald,
    read=read_hald,
    sizes=tuple(level**2 for level in range(2, 12)),
    depths=(Depth.UINT16, Depth.UINT8),
    compressed=True,
)
