"""The registry of LUT file formats: a new format is a module with a CODEC, and a member here."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Self

from app.errors import BadLutFile
from app.luts.formats import (
    binary,
    clf,
    csp,
    cube,
    icc,
    json,
    look,
    png,
    spi3d,
    threedl,
)
from app.luts.formats.base import LutCodec
from app.luts.formats.opencolorio import read_with_opencolorio
from app.luts.lut3d import Lut3D


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

    CUBE = cube.CUBE_CODEC
    RESOLVE = cube.RESOLVE_CODEC
    CSP = csp.CODEC
    CLF = clf.CODEC
    THREEDL = threedl.CODEC
    SPI3D = spi3d.CODEC
    VLT = cube.VLT_CODEC
    LOOK = look.CODEC
    ICC = icc.CODEC
    HALD = png.HALD_CODEC
    STRIP = png.STRIP_CODEC
    BIN = binary.CODEC
    JSON = json.CODEC


def formats_by_suffix() -> dict[str, LutFormat]:
    """Return the format that each suffix, with the dot, stands for."""
    formats: dict[str, LutFormat] = {}
    for member in LutFormat:
        formats.setdefault(member.codec.suffix, member)
    return formats


# Formats that OpenColorIO reads and that are not written.
_READ_ONLY = (".ctf", ".cub", ".itx", ".lut", ".m3d", ".mga", ".spi1d", ".vf")


def read_lut(file: Path) -> Lut3D:
    """Read a LUT file; its suffix determines the format.

    Raises:
        BadLutFile: the suffix is unknown, or the file cannot be read; the message names the file.
        OSError: the file cannot be opened.
    """
    suffix = file.suffix.lower()
    codecs = [it.codec for it in LutFormat]
    readers = dict.fromkeys(it.read for it in codecs if it.suffix == suffix and it.read)
    if suffix in _READ_ONLY:
        readers = {partial(read_with_opencolorio, suffix): None}
    if not readers:
        suffixes = dict.fromkeys(it.suffix for it in codecs if it.read)
        raise BadLutFile(f"{file}: LUT files end in one of {', '.join((*suffixes, *_READ_ONLY))}")
    data = file.read_bytes()
    reasons = []
    for read in readers:
        try:
            return read(data)
        except BadLutFile as error:
            reasons.append(str(error))
    raise BadLutFile(f"{file}: {'; or '.join(reasons)}")
