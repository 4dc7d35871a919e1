"""LUTs as PNG images: the HALD CLUT of image editors, and the strip of game engines.

A HALD is a square whose pixels are the entries of a table, red fastest. A HALD of level L has L^3
pixels on a side and holds L^2 lattice points on an axis. ImageMagick, ffmpeg, GIMP (G'MIC),
darktable and RawTherapee read it. Source: Eskil Steenberg, "Hald CLUT"
(quelsolaar.com/technology/clut.html).

A strip has N^2 x N pixels, one square of red and green for each blue. In a square, red rises to
the right. Green rises downwards for Unreal Engine, upwards for Unity.
"""

from __future__ import annotations

import struct
import zlib

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from app.errors import BadLutFile
from app.luts.formats.base import Depth, GreenAxis, LutCodec, LutLayout, LutMetadata, to_printable
from app.luts.lut3d import MAX_RESAMPLED_SIZE, Lut3D

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_IHDR = struct.Struct(">4x4sII")  # the length, the type, width and height
_IHDR_END = 33
_LEVELS = {level**3: level for level in range(2, 17)}  # by the side of the image


def write_hald(lut: Lut3D, metadata: LutMetadata, layout: LutLayout) -> bytes:
    """Write a LUT of L^2 points on an axis without a shaper as a PNG of 8 or 16 bits."""
    side = round(lut.size**1.5)
    return _encode_png(lut.table.reshape(side, side, 3), metadata, layout)


def read_hald(data: bytes) -> Lut3D:
    """Read a HALD of level 2 to 16.

    Raises:
        BadLutFile: the file is damaged, or no image of such a size.
    """
    width, height = _read_size(data)
    if width != height or width not in _LEVELS:
        raise BadLutFile(f"expected L^3 pixels on a side, L from 2 to 16, not {width}x{height}")
    size = _LEVELS[width] ** 2
    return Lut3D(_decode_png(data).reshape(size, size, size, 3))


def write_strip(lut: Lut3D, metadata: LutMetadata, layout: LutLayout) -> bytes:
    """Write a LUT without a shaper as a PNG of 8 or 16 bits."""
    rows = lut.table.transpose(1, 0, 2, 3).reshape(lut.size, -1, 3)  # (G, B R, 3)
    return _encode_png(_orient(rows, layout.green), metadata, layout)


def read_strip(data: bytes) -> Lut3D:
    """Read a strip; green is taken to rise in the direction in which it rises on average.

    Raises:
        BadLutFile: the file is damaged, or no image of such a size.
    """
    width, size = _read_size(data)
    if width != size**2 or not 2 <= size <= MAX_RESAMPLED_SIZE:
        raise BadLutFile(f"expected N^2 x N pixels, N from 2 to 129, not {width}x{size}")
    rows = _decode_png(data)
    up = rows[0, :, 1].mean() > rows[-1, :, 1].mean()
    rows = _orient(rows, GreenAxis.UP if up else GreenAxis.DOWN)
    return Lut3D(np.ascontiguousarray(rows.reshape(size, size, size, 3).transpose(1, 0, 2, 3)))


HALD_CODEC = LutCodec(
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

STRIP_CODEC = LutCodec(
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


def _encode_png(colours: NDArray[np.float32], metadata: LutMetadata, layout: LutLayout) -> bytes:
    """Encode colours (H, W, 3) in 0..1, with the title and the comments as text chunks."""
    pixels = layout.depth.to_integers(colours)
    if layout.depth is Depth.UINT8:
        pixels = pixels.astype(np.uint8)
    png = bytes(imagecodecs.png_encode(pixels))
    texts = [("Title", metadata.title), *(("Comment", line) for line in metadata.comments)]
    chunks = b"".join(_format_text(keyword, text) for keyword, text in texts)
    return png[:_IHDR_END] + chunks + png[_IHDR_END:]


def _read_size(data: bytes) -> tuple[int, int]:
    """Return the width and the height of a PNG without decoding it.

    Raises:
        BadLutFile: the file is no PNG.
    """
    if not data.startswith(_SIGNATURE) or len(data) < _IHDR_END:
        raise BadLutFile("expected a PNG file")
    kind, width, height = _IHDR.unpack_from(data, len(_SIGNATURE))
    if kind != b"IHDR":
        raise BadLutFile("expected a PNG file")
    return width, height


def _decode_png(data: bytes) -> NDArray[np.float32]:
    """Decode an RGB PNG of 8 or 16 bits to colours (H, W, 3) in 0..1; alpha is ignored.

    Raises:
        BadLutFile: the file is damaged, or of grey levels.
    """
    try:
        pixels = imagecodecs.png_decode(data)
    except (ValueError, RuntimeError) as error:
        raise BadLutFile("expected a PNG file that can be decoded") from error
    if pixels.ndim != 3 or pixels.shape[2] < 3:
        raise BadLutFile("expected a PNG file of RGB colours")
    top = np.float32(np.iinfo(pixels.dtype).max)
    colours: NDArray[np.float32] = pixels[..., :3].astype(np.float32) / top
    return colours


def _format_text(keyword: str, text: str) -> bytes:
    """Format a tEXt chunk."""
    body = b"tEXt" + keyword.encode() + b"\0" + to_printable(text).encode()
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
