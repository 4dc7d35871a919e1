"""The Common LUT Format, which holds a shaper before the table.

Source: Academy of Motion Picture Arts and Sciences, S-2014-006, "A Common File Format for Look-Up
Tables", version 3.0: an XML list of process nodes. A LUT1D is linear between its rows; a LUT3D
has blue fastest.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from uuid import NAMESPACE_URL, uuid5
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray

from app.luts.formats.base import LutCodec, format_triples, make_text_writer, to_printable
from app.luts.formats.opencolorio import read_with_opencolorio
from app.luts.lut3d import Lut3D


def write_clf(lut: Lut3D, *, title: str, comments: Iterable[str] = ()) -> str:
    """Write a .clf file; its identifier depends on the LUT alone.

    Args:
        lut: with a shaper or without.
        title: the name of the list.
        comments: for its descriptions.
    """
    nodes = _format_node("LUT3D", 'interpolation="tetrahedral"', lut.table.transpose(2, 1, 0, 3))
    if lut.shaper is not None:
        nodes = _format_node("LUT1D", 'interpolation="linear"', lut.shaper.T) + nodes
    descriptions = [
        f"  <Description>{escape(to_printable(line))}</Description>\n" for line in comments
    ]
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<ProcessList xmlns="urn:AMPAS:CLF:v3.0" compCLFversion="3.0"'
        f' id="urn:uuid:{uuid5(NAMESPACE_URL, nodes)}" name={quoteattr(to_printable(title))}>\n'
        f"{''.join(descriptions)}{nodes}</ProcessList>\n"
    )


CODEC = LutCodec(
    name="clf",
    suffix=".clf",
    media_type="application/xml",
    description="Academy/ASC Common LUT Format, XML",
    write=make_text_writer(write_clf),
    read=partial(read_with_opencolorio, ".clf"),
    holds_shaper=True,
)


def _format_node(kind: str, interpolation: str, array: NDArray[np.float32]) -> str:
    size = " ".join(map(str, array.shape))
    return (
        f'  <{kind} inBitDepth="32f" outBitDepth="32f" {interpolation}>\n'
        f'    <Array dim="{size}">\n{format_triples(array.reshape(-1, 3))}    </Array>\n'
        f"  </{kind}>\n"
    )
