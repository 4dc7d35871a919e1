"""PNG files of LUTs: the chunks by hand, the pixels by libpng."""

from __future__ import annotations

import struct
import zlib

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from app.errors import BadLutFile
from app.luts.formats.base import Depth, LutLayout, LutMetadata
from app.luts.formats.text_format import to_printable

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_IHDR = struct.Struct(">4x4sII")  # the length, the type, width and height
_IHDR_END = 33


def encode_png(colours: NDArray[np.float32], metadata: LutMetadata, layout: LutLayout) -> bytes:
    """Encode colours (H, W, 3) in 0..1, with the title and the comments as text chunks."""
    pixels = layout.depth.to_integers(colours)
    if layout.depth is Depth.UINT8:
        pixels = pixels.astype(np.uint8)
    png = bytes(imagecodecs.png_encode(pixels))
    texts = [("Title", metadata.title), *(("Comment", line) for line in metadata.comments)]
    chunks = b"".join(_format_text(keyword, text) for keyword, text in texts)
    return png[:_IHDR_END] + chunks + png[_IHDR_END:]


def read_size(data: bytes) -> tuple[int, int]:
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


def decode_png(data: bytes) -> NDArray[np.float32]:
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
