"""The descriptor of LUT formats, metadata beside the table, and the parts of text files.

Text files consist of lines of printable ASCII and rows of numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.jit import jit
from app.luts.lut3d import MAX_RESAMPLED_SIZE, Lut3D
from app.luts.lut_error import ErrorStats

MAX_LINE = 250  # bytes without the line feed: the limit of .cube files, kept everywhere

MINUS, POINT, SPACE, LINE_FEED = b"-. \n"
ZERO, TEN, THOUSAND = np.uint64(ord("0")), np.uint64(10), np.uint64(1000)
MILLION = THOUSAND * THOUSAND
THREE_DIGITS = np.array([list(b"%03d" % number) for number in range(1000)], np.uint8)


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
    """The metadata of a LUT file.

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


class TextWriter(Protocol):
    """A function that writes a text file."""

    def __call__(self, lut: Lut3D, *, title: str, comments: Iterable[str]) -> str:
        """Return the file."""


def make_text_writer(write: TextWriter) -> Callable[[Lut3D, LutMetadata, LutLayout], bytes]:
    """Turn a writer of text with six decimals into one that a codec takes."""

    def write_bytes(lut: Lut3D, metadata: LutMetadata, _: LutLayout) -> bytes:
        return write(lut, title=metadata.title, comments=metadata.comments).encode("ascii")

    return write_bytes


def make_text_reader(read: Callable[[str], Lut3D]) -> Callable[[bytes], Lut3D]:
    """Turn a reader of text into one that a codec takes; other bytes than UTF-8 are replaced."""
    return lambda data: read(data.decode("utf-8", errors="replace"))


def to_printable(text: str, length: int = MAX_LINE) -> str:
    """Return at most `length` characters of a text, as a line of ASCII without quotation marks."""
    return re.sub(r"[^ !#-~]+", " ", text).strip()[:length]


def format_comment(text: str) -> str:
    """Return a comment line, which begins with "# "."""
    return f"# {to_printable(text, MAX_LINE - 2)}"


def format_triples(entries: NDArray[np.float32]) -> str:
    """Format (N, 3) finite entries as lines of three "%.6f"."""
    return format_rows(np.empty((len(entries), 0), np.uint16), entries)


def format_integers(entries: NDArray[np.uint16]) -> str:
    """Format (N, 3) integers as lines of three."""
    return format_rows(entries, np.empty((len(entries), 0), np.float32))


def format_rows(integers: NDArray[np.uint16], decimals: NDArray[np.float32]) -> str:
    """Format lines of integers (N, K), followed by finite decimals (N, M) as "%.6f"."""
    line = integers.shape[1] * len("65535 ")
    line += decimals.shape[1] * len(f"-{np.abs(decimals).max(initial=0):.6f} ")
    characters = np.empty(len(integers) * line, np.uint8)
    # Arrays of another memory layout would be compiled for once more.
    rows = np.ascontiguousarray(integers), np.ascontiguousarray(decimals)
    return str(characters[: _write(*rows, characters)].tobytes(), "ascii")


@jit
def _write(
    integers: NDArray[np.uint16], decimals: NDArray[np.float32], characters: NDArray[np.uint8]
) -> int:
    """Write the lines; return the number of characters."""
    end = 0
    for i in range(integers.shape[0]):
        for c in range(integers.shape[1]):
            end = _write_whole(np.uint64(integers[i, c]), characters, end)
            characters[end] = SPACE
            end += 1
        for c in range(decimals.shape[1]):
            end = _write_decimal(decimals[i, c], characters, end)
            characters[end] = SPACE
            end += 1
        characters[end - 1] = LINE_FEED
    return end


@jit
def _write_decimal(value: np.float32, characters: NDArray[np.uint8], begin: int) -> int:
    """Write a number with six decimals; return where it ends."""
    end = begin
    millionths = np.rint(np.float64(value) * 1e6)
    if millionths < 0:
        characters[end] = MINUS
        end += 1
    number = np.uint64(abs(millionths))  # unsigned division is faster
    whole = number // MILLION
    fraction = number - MILLION * whole
    end = _write_whole(whole, characters, end)
    characters[end] = POINT
    thousandths = fraction // THOUSAND
    _write_three(thousandths, characters, end + 1)
    _write_three(fraction - THOUSAND * thousandths, characters, end + 4)
    return end + 7


@jit
def _write_whole(number: np.uint64, characters: NDArray[np.uint8], begin: int) -> int:
    """Write a number; return where it ends."""
    end, rest = begin + 1, number
    while rest >= TEN:
        rest //= TEN
        end += 1
    for place in range(end - 1, begin - 1, -1):
        rest = number // TEN
        characters[place] = ZERO + (number - TEN * rest)
        number = rest
    return end


@jit
def _write_three(number: np.uint64, characters: NDArray[np.uint8], begin: int) -> None:
    """Write three digits from a table, in two thirds of the time of a division for each."""
    for place in range(3):
        characters[begin + place] = THREE_DIGITS[number, place]
