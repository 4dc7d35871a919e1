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
    millionths = np.rint(entries.astype(np.float64) * 1e6)
    rest = np.abs(millionths)
    rest = rest.astype(np.uint32 if rest.max() < 1 << 32 else np.uint64)  # 64 bits divide slowly
    digits = max(7, len(str(rest.max())))
    columns = np.zeros((digits + 3, *entries.shape), np.uint8)  # 0 for no character
    columns[0] = np.where(millionths < 0, ord("-"), 0)
    columns[-8] = ord(".")
    columns[-1] = [ord(" "), ord(" "), ord("\n")]
    for place in range(digits):
        tenth = rest // 10
        column = columns[-2 - place - (place > 5)]  # leaves room for the point
        column[:] = ord("0") + (rest - 10 * tenth)
        if place > 6:
            column[rest == 0] = 0
        rest = tenth
    characters = np.moveaxis(columns, 0, -1).ravel()
    return str(characters[characters != 0].tobytes(), "ascii")
