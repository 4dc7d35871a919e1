"""The table as raw numbers, for 3D textures of OpenGL ES, WebGL, Metal and Vulkan.

Layout, little-endian:

    offset  bytes
    0       4      "CLUT"
    4       1      1, the version
    5       1      bytes per number: 1 for uint8, 2 for float16
    6       2      N, the number of lattice points on an axis
    8       8      zero
    16             N^3 colours of red, green, blue and alpha, which is 1; red is fastest (x),
                   then green (y), then blue (z)
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from app.errors import BadLutFile
from app.luts.formats.base import Depth, LutCodec, LutLayout, LutMetadata
from app.luts.lut3d import MAX_SIZE, Lut3D

_HEADER = struct.Struct("<4sBBH8x")
_MAGIC, _VERSION = b"CLUT", 1


def write_binary(lut: Lut3D, _: LutMetadata, layout: LutLayout) -> bytes:
    """Write the header and the colours of a LUT without a shaper, as uint8 or float16."""
    table: NDArray[np.generic]
    if layout.depth is Depth.UINT8:
        table, one, width = layout.depth.to_integers(lut.table).astype(np.uint8), 255, 1
    else:
        table, one, width = lut.table.astype("<f2"), 1, 2
    colours = np.full((*lut.table.shape[:3], 4), one, table.dtype)
    colours[..., :3] = table
    return _HEADER.pack(_MAGIC, _VERSION, width, lut.size) + colours.tobytes()


def read_binary(data: bytes) -> Lut3D:
    """Read a file of `write_binary`.

    Raises:
        BadLutFile: the header is another one, or the file is not as long as it states.
    """
    if len(data) < _HEADER.size:
        raise BadLutFile(f"expected a header of {_HEADER.size} bytes")
    magic, version, width, size = _HEADER.unpack_from(data)
    if magic != _MAGIC or version != _VERSION or width not in (1, 2):
        raise BadLutFile(f'expected "CLUT", version {_VERSION} and 1 or 2 bytes per number')
    if not 2 <= size <= MAX_SIZE:
        raise BadLutFile(f"expected a size from 2 to {MAX_SIZE}")
    length = _HEADER.size + 4 * width * size**3
    if len(data) != length:
        raise BadLutFile(f"expected {length} bytes, not {len(data)}")
    numbers = np.frombuffer(data, "<u1" if width == 1 else "<f2", offset=_HEADER.size)
    table = numbers.reshape(size, size, size, 4)[..., :3].astype(np.float32)
    if not np.isfinite(table).all():
        raise BadLutFile("expected finite numbers")
    return Lut3D(table / np.float32(255) if width == 1 else table)


CODEC = LutCodec(
    name="bin",
    suffix=".bin",
    media_type="application/octet-stream",
    description="RGBA in 3D-texture order after a header of 16 bytes, float16 or uint8",
    write=write_binary,
    read=read_binary,
    depths=(Depth.FLOAT16, Depth.UINT8),
)
