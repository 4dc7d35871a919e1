"""The registry of LUT file formats: a new format is a module with a CODEC, and a member here."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from app.luts.formats import (
    binary,
    clf,
    csp,
    cube,
    hald,
    icc,
    json,
    look,
    resolve,
    spi3d,
    strip,
    threedl,
    vlt,
)
from app.luts.formats.base import LutCodec


class LutFormat(StrEnum):
    """Every LUT file format; the value of a member is the name of its codec.

    Where several formats share a suffix, files with that suffix have the format listed first.
    """

    codec: LutCodec

    def __new__(cls, codec: LutCodec) -> Self:
        """Make a member of a codec."""
        member = str.__new__(cls, codec.name)
        member._value_ = codec.name
        member.codec = codec
        return member

    CUBE = cube.CODEC
    RESOLVE = resolve.CODEC
    CSP = csp.CODEC
    CLF = clf.CODEC
    THREEDL = threedl.CODEC
    SPI3D = spi3d.CODEC
    VLT = vlt.CODEC
    LOOK = look.CODEC
    ICC = icc.CODEC
    HALD = hald.CODEC
    STRIP = strip.CODEC
    BIN = binary.CODEC
    JSON = json.CODEC


def formats_by_suffix() -> dict[str, LutFormat]:
    """Return the format that each suffix, with the dot, stands for."""
    formats: dict[str, LutFormat] = {}
    for member in LutFormat:
        formats.setdefault(member.codec.suffix, member)
    return formats
