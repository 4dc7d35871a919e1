"""The ICC device link: a profile that maps RGB to RGB, for ImageMagick, Photoshop and printers.

Source: International Color Consortium, "ICC.1:2001-04", version 2.4: a header of 128 bytes, a
table of tags, and the tags `desc`, `cprt`, `pseq` and `A2B0`. The LUT is in `A2B0` as lut16Type:
input tables, which hold a shaper, the table with blue fastest, and output tables.
"""

from __future__ import annotations

import struct
from itertools import accumulate

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from app.errors import BadLutFile
from app.luts.formats.base import Depth, LutCodec, LutLayout, LutMetadata, to_printable
from app.luts.lut3d import FINE_SIZE, Lut3D

_HEADER = struct.Struct(">I4xI4s4s4s6H4s28x3I48x")
_VERSION = 0x02400000
_DATE = (2026, 1, 1, 0, 0, 0)  # fixed, so that equal LUTs have equal files
_D50 = (0x0000F6D6, 0x00010000, 0x0000D32D)  # XYZ, the illuminant of every profile
_IDENTITY_MATRIX = [0x10000 if i % 4 == 0 else 0 for i in range(9)]
_MAX_CURVE = 4096


def write_icc(lut: Lut3D, metadata: LutMetadata, layout: LutLayout) -> bytes:
    """Write a device link; a shaper becomes the input tables.

    Args:
        lut: with a shaper, of which 4096 samples are kept, or without.
        metadata: its title becomes the description.
        layout: of 16 bits.
    """
    title = _format_description(to_printable(metadata.title))
    sequence = struct.pack(">4s4xI20x", b"pseq", 1) + _format_description("") + title
    tags = {
        b"desc": title,
        b"cprt": struct.pack(">4s4x12s", b"text", b"not stated"),
        b"pseq": sequence,
        b"A2B0": _format_lut(lut, layout.depth),
    }
    padded = [body + bytes(-len(body) % 4) for body in tags.values()]
    begin = _HEADER.size + 4 + 12 * len(tags)
    *offsets, size = accumulate(map(len, padded), initial=begin)
    table = b"".join(
        struct.pack(">4sII", name, offset, len(body))
        for (name, body), offset in zip(tags.items(), offsets, strict=True)
    )
    header = _HEADER.pack(size, _VERSION, b"link", b"RGB ", b"RGB ", *_DATE, b"acsp", *_D50)
    return header + struct.pack(">I", len(tags)) + table + b"".join(padded)


def read_icc(data: bytes) -> Lut3D:
    """Sample an RGB device link by littleCMS at 65 points on an axis.

    Raises:
        BadLutFile: the file is damaged, or no device link from RGB to RGB.
    """
    if data[12:24] != b"linkRGB RGB ":
        raise BadLutFile("expected an ICC device link from RGB to RGB")
    layout = LutLayout(Depth.UINT16)
    colours = Lut3D.identity(FINE_SIZE).table.reshape(1, -1, 3)
    identity = write_icc(Lut3D.identity(2), LutMetadata(title="identity"), layout)
    try:
        # littleCMS requires a profile for the output, which has to change nothing.
        output = imagecodecs.cms_transform(
            Depth.UINT16.to_integers(colours),
            data,
            identity,
            colorspace="RGB",
            outcolorspace="RGB",
            flags=imagecodecs.CMS.FLAGS.NOOPTIMIZE,
        )
    except (RuntimeError, ValueError) as error:
        raise BadLutFile("expected a device link that littleCMS reads") from error
    table = output.astype(np.float32) / np.float32(0xFFFF)
    return Lut3D(table.reshape(FINE_SIZE, FINE_SIZE, FINE_SIZE, 3))


CODEC = LutCodec(
    name="icc",
    suffix=".icc",
    media_type="application/vnd.iccprofile",
    description="ICC device link, RGB to RGB",
    write=write_icc,
    read=read_icc,
    holds_shaper=True,
    depths=(Depth.UINT16,),
)


def _format_lut(lut: Lut3D, depth: Depth) -> bytes:
    """Format a LUT as lut16Type."""
    curves = _sample_curves(lut.shaper)
    header = struct.pack(
        ">4s4x4B9I2H", b"mft2", 3, 3, lut.size, 0, *_IDENTITY_MATRIX, curves.shape[1], 2
    )
    arrays = (curves, lut.table.transpose(2, 1, 0, 3), np.tile([0.0, 1.0], (3, 1)))
    return header + b"".join(
        depth.to_integers(array.astype(np.float32)).astype(">u2").tobytes() for array in arrays
    )


def _sample_curves(shaper: NDArray[np.float32] | None) -> NDArray[np.floating]:
    """Return at most 4096 samples of each curve, (3, M)."""
    if shaper is None:
        return np.tile([0.0, 1.0], (3, 1))
    if shaper.shape[1] <= _MAX_CURVE:
        return shaper
    inputs = np.linspace(0, 1, shaper.shape[1])
    return np.stack([np.interp(np.linspace(0, 1, _MAX_CURVE), inputs, curve) for curve in shaper])


def _format_description(text: str) -> bytes:
    """Format ASCII as textDescriptionType, without its Unicode and Macintosh variants."""
    ascii_text = text.encode("ascii") + b"\0"
    return struct.pack(">4s4xI", b"desc", len(ascii_text)) + ascii_text + bytes(78)
