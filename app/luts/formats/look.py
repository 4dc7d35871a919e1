"""The .look format of IRIDAS and Adobe SpeedGrade: XML with float32 in hexadecimal, red fastest.

Source: the reader of OpenColorIO. Programs evaluate the node `LUT`, into which the effects under
`shaders` have been rendered.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from xml.sax.saxutils import escape

from app.luts.formats.base import LutCodec, make_text_writer, to_printable
from app.luts.formats.opencolorio import read_with_opencolorio
from app.luts.lut3d import Lut3D

_LINE = 3 * 8 * 4  # hexadecimal digits of four colours


def write_look(lut: Lut3D, *, title: str, comments: Iterable[str] = ()) -> str:
    """Write a .look file.

    Args:
        lut: without a shaper.
        title: for the first XML comment.
        comments: for the XML comments after it.
    """
    digits = lut.table.astype("<f4").tobytes().hex().upper()
    rows = "\n".join(digits[at : at + _LINE] for at in range(0, len(digits), _LINE))
    notes = "".join(f"  <!-- {_escape(line)} -->\n" for line in (title, *comments))
    return (
        f'<?xml version="1.0" ?>\n<look>\n{notes}  <shaders>\n  </shaders>\n  <LUT>\n'
        f'    <size>"{lut.size}"</size>\n    <data>"\n{rows}"\n    </data>\n  </LUT>\n</look>\n'
    )


CODEC = LutCodec(
    name="look",
    suffix=".look",
    media_type="application/xml",
    description=".look of IRIDAS and Adobe SpeedGrade, XML",
    write=make_text_writer(write_look),
    read=partial(read_with_opencolorio, ".look"),
)


def _escape(text: str) -> str:
    """Return a text that cannot end an XML comment."""
    return escape(to_printable(text)).replace("--", "- -").rstrip("-")
