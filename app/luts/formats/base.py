"""The descriptor of a LUT file format, and what a file holds beside its table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from app.luts.lut3d import MAX_RESAMPLED_SIZE, Lut3D
from app.luts.lut_error import ErrorStats


class Depth(StrEnum):
    """The number type of the entries of a file."""

    UINT8 = "uint8"
    UINT12 = "uint12"
    UINT16 = "uint16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"

    @property
    def top(self) -> int | None:
        """The integer that stands for 1, or None for floating point."""
        tops = {Depth.UINT8: 2**8 - 1, Depth.UINT12: 2**12 - 1, Depth.UINT16: 2**16 - 1}
        return tops.get(self)

    def round(self, table: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the values that a file of this depth holds; integers are clamped to 0..1."""
        if self.top is not None:
            return self.to_integers(table).astype(np.float32) / np.float32(self.top)
        return table.astype(np.float16).astype(np.float32) if self is Depth.FLOAT16 else table

    def to_integers(self, values: NDArray[np.float32]) -> NDArray[np.uint16]:
        """Encode values as the integers of this depth.

        Raises:
            ValueError: the depth is floating point.
        """
        if self.top is None:
            raise ValueError(f"{self} has no integers")
        integers: NDArray[np.uint16] = np.rint(values.clip(0, 1) * self.top).astype(np.uint16)
        return integers


class GreenAxis(StrEnum):
    """The direction in which green rises in an image of a LUT."""

    DOWN = "down"
    UP = "up"


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
        """The metadata except for the title, one line each."""
        lines = {
            "model": self.model,
            "strength": f"{self.strength:g}",
            "look": self.look,
            "error in 8-bit levels": self.error,
        }
        return [f"{name} {value}" for name, value in lines.items() if value is not None]


@dataclass(frozen=True)
class LutLayout:
    """How the entries of a table are laid out in a file.

    Attributes:
        depth: the number type.
        green: the direction of green, in formats that are images.
    """

    depth: Depth
    green: GreenAxis = GreenAxis.DOWN


@dataclass(frozen=True)
class LutCodec:
    """One LUT file format.

    Attributes:
        name: the value of the parameter `format`.
        suffix: of file names, with the dot.
        media_type: for the Content-Type header.
        description: one line for the API documents and the README.
        write: encodes a LUT that `sizes` and `depths` allow, without a shaper unless
            `holds_shaper`.
        read: decodes a file, or None where files of this format are not read. Raises BadLutFile.
        holds_shaper: whether the format holds curves before the table.
        sizes: the lattice points on an axis that the format allows, in rising order.
        depths: the number types that the format allows, the default first.
        greens: the directions of green that the format allows, the default first.
        compressed: whether the file is compressed already.
    """

    name: str
    suffix: str
    media_type: str
    description: str
    write: Callable[[Lut3D, LutMetadata, LutLayout], bytes]
    read: Callable[[bytes], Lut3D] | None = None
    holds_shaper: bool = False
    sizes: Sequence[int] = range(2, MAX_RESAMPLED_SIZE + 1)
    depths: Sequence[Depth] = (Depth.FLOAT32,)
    greens: Sequence[GreenAxis] = ()
    compressed: bool = False
