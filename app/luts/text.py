"""What the text files of LUTs are made of: lines of printable ASCII, and rows of numbers."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

MAX_LINE = 250  # bytes without the line feed: the limit of .cube files, kept everywhere


def printable(text: str, length: int = MAX_LINE) -> str:
    """At most `length` characters of a text, in one line of ASCII without quotation marks."""
    return re.sub(r"[^ !#-~]+", " ", text).strip()[:length]


def comment(text: str) -> str:
    """A line that begins with "# "."""
    return f"# {printable(text, MAX_LINE - 2)}"


def triples(entries: NDArray[np.float32]) -> str:
    """A line of three "%.6f" for each of (N, 3) entries; all digits at once is faster."""
    millionths = np.rint(entries.astype(np.float64) * 1e6).astype(np.int64)
    rest = np.abs(millionths)
    digits = max(7, len(str(rest.max())))
    characters = np.zeros((*entries.shape, digits + 3), np.uint8)  # 0 for no character
    characters[..., 0] = np.where(millionths < 0, ord("-"), 0)
    characters[..., -8] = ord(".")
    characters[..., -1] = [ord(" "), ord(" "), ord("\n")]
    for place in range(digits):
        tenth = rest // 10
        column = -2 - place - (place > 5)  # leaves room for the point
        characters[..., column] = ord("0") + (rest - 10 * tenth)
        if place > 6:
            characters[rest == 0, column] = 0
        rest = tenth
    return str(characters[characters != 0].tobytes(), "ascii")
