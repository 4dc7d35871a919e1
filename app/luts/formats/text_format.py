"""What the text files of LUTs are made of: lines of printable ASCII, and rows of numbers."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from app.jit import jit

MAX_LINE = 250  # bytes without the line feed: the limit of .cube files, kept everywhere

MINUS, POINT, SPACE, LINE_FEED = b"-. \n"
ZERO, TEN, THOUSAND = np.uint64(ord("0")), np.uint64(10), np.uint64(1000)
MILLION = THOUSAND * THOUSAND
THREE_DIGITS = np.array([list(b"%03d" % number) for number in range(1000)], np.uint8)


def printable(text: str, length: int = MAX_LINE) -> str:
    """At most `length` characters of a text, in one line of ASCII without quotation marks."""
    return re.sub(r"[^ !#-~]+", " ", text).strip()[:length]


def comment(text: str) -> str:
    """A line that begins with "# "."""
    return f"# {printable(text, MAX_LINE - 2)}"


def triples(entries: NDArray[np.float32]) -> str:
    """A line of three "%.6f" for each of (N, 3) finite entries."""
    longest = len(f"{np.abs(entries).max():.6f}") + 2  # a sign before, a space after
    characters = np.empty(entries.size * longest, np.uint8)
    return str(characters[: _write(entries, characters)].tobytes(), "ascii")


@jit
def _write(entries: NDArray[np.float32], characters: NDArray[np.uint8]) -> int:
    """Writes the lines; returns how many characters they have."""
    end = 0
    for i in range(entries.shape[0]):
        for c in range(3):
            millionths = np.rint(np.float64(entries[i, c]) * 1e6)
            if millionths < 0:
                characters[end] = MINUS
                end += 1
            number = np.uint64(abs(millionths))  # divides faster than signed ones
            whole = number // MILLION
            fraction = number - MILLION * whole
            end = _write_whole(whole, characters, end)
            characters[end] = POINT
            thousandths = fraction // THOUSAND
            _write_three(thousandths, characters, end + 1)
            _write_three(fraction - THOUSAND * thousandths, characters, end + 4)
            end += 7
            characters[end] = SPACE
            end += 1
        characters[end - 1] = LINE_FEED
    return end


@jit
def _write_whole(number: np.uint64, characters: NDArray[np.uint8], begin: int) -> int:
    """Writes a number; returns where it ends."""
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
    """Writes three digits; looked up together: a division for each takes half as long again."""
    for place in range(3):
        characters[begin + place] = THREE_DIGITS[number, place]
