"""The strip of game engines: a PNG of N^2 x N pixels, one square of red and green for each blue.

In a square, red rises to the right. Green rises downwards for Unreal Engine, upwards for Unity.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.errors import BadLutFile
from app.luts.formats.base import Depth, GreenAxis, LutCodec, LutLayout, LutMetadata
from app.luts.formats.png import decode_png, encode_png, read_size
from app.luts.lut3d import MAX_RESAMPLED_SIZE, Lut3D


def write_strip(lut: Lut3D, metadata: LutMetadata, layout: LutLayout) -> bytes:
    """Write a LUT without a shaper as a PNG of 8 or 16 bits."""
    rows = lut.table.transpose(1, 0, 2, 3).reshape(lut.size, -1, 3)  # (G, B R, 3)
    return encode_png(_orient(rows, layout.green), metadata, layout)


def read_strip(data: bytes) -> Lut3D:
    """Read a strip; green is taken to rise in the direction in which it rises on average.

    Raises:
        BadLutFile: the file is damaged, or no image of such a size.
    """
    width, size = read_size(data)
    if width != size**2 or not 2 <= size <= MAX_RESAMPLED_SIZE:
        raise BadLutFile(f"expected N^2 x N pixels, N from 2 to 129, not {width}x{size}")
    rows = decode_png(data)
    up = rows[0, :, 1].mean() > rows[-1, :, 1].mean()
    rows = _orient(rows, GreenAxis.UP if up else GreenAxis.DOWN)
    return Lut3D(np.ascontiguousarray(rows.reshape(size, size, size, 3).transpose(1, 0, 2, 3)))


CODEC = LutCodec(
    name="strip",
    suffix=".png",
    media_type="image/png",
    description="PNG of N² x N pixels for game engines; `green` is down (Unreal) or up (Unity)",
    write=write_strip,
    read=read_strip,
    depths=(Depth.UINT8, Depth.UINT16),
    greens=(GreenAxis.DOWN, GreenAxis.UP),
    compressed=True,
)


def _orient(rows: NDArray[np.float32], green: GreenAxis) -> NDArray[np.float32]:
    """Turn rows upside down if green rises upwards."""
    return rows[::-1] if green is GreenAxis.UP else rows
