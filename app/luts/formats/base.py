"""The descriptor of a LUT file format, and the metadata that such a file states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.luts.lut3d import Lut3D
from app.luts.lut_error import ErrorStats


@dataclass(frozen=True)
class LutMetadata:
    """What a LUT file states beside its table.

    Attributes:
        title: the name of the LUT.
        model: NAME@VERSION of the model that predicted it, or None.
        look: the look token of the LUT, or None.
        strength: 0 for the identity, 1 for the whole look.
        error: how far the file is from the exact LUT, or None if it holds the exact LUT.
    """

    title: str
    model: str | None = None
    look: str | None = None
    strength: float = 1.0
    error: ErrorStats | None = None

    @property
    def comments(self) -> list[str]:
        """The metadata but for the title, one line each."""
        lines = {
            "model": self.model,
            "strength": f"{self.strength:g}",
            "look": self.look,
            "error in 8-bit levels": self.error,
        }
        return [f"{name} {value}" for name, value in lines.items() if value is not None]


@dataclass(frozen=True)
class LutCodec:
    """One LUT file format.

    Attributes:
        name: the value of the parameter `format`.
        suffix: of file names, with the dot.
        media_type: for the Content-Type header.
        description: one line for the API documents and the README.
        write: encodes a LUT, without a shaper unless `holds_shaper`.
        read: decodes a file, or None where files of this format are not read. Raises BadLutFile.
        holds_shaper: whether the format holds curves before the table.
    """

    name: str
    suffix: str
    media_type: str
    description: str
    write: Callable[[Lut3D, LutMetadata], bytes]
    read: Callable[[bytes], Lut3D] | None = None
    holds_shaper: bool = False
