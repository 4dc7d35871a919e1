"""Reading LUT files of any format."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from app.errors import BadLutFile
from app.luts.formats import LutFormat
from app.luts.formats.opencolorio import read_with_opencolorio
from app.luts.lut3d import Lut3D

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
