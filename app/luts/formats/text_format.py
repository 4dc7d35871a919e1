"""The parts of text LUT files: lines of printable ASCII, and rows of numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.jit import jit
from app.luts.formats.base import LutLayout, LutMetadata
from app.luts.lut3d import Lut3D

MAX_LINE = 250  # bytes without the line feed: the limit of .cube files, kept everywhere

MINUS, POINT, SPACE, LINE_FEED = b"-. \n"
ZERO, TEN, THOUSAND = np.uint64(ord("0")), np.uint64(10), np.uint64(1000)
MILLION = THOUSAND * THOUSAND
THREE_DIGITS = np.array([list(b"%03d" % number) for number in range(1000)], np.uint8)


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
