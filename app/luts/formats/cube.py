"""The .cube file, written so that every program reads it, and read in both of its dialects.

Sources: Adobe, "Cube LUT Specification", version 1.0 (2013): TITLE, DOMAIN_MIN, DOMAIN_MAX and
either LUT_1D_SIZE or LUT_3D_SIZE; and the LUT format of Blackmagic DaVinci Resolve, which has
LUT_1D_INPUT_RANGE and LUT_3D_INPUT_RANGE instead of a domain, and may put a 1D table before a
3D one.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from io import StringIO
from itertools import chain
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.errors import BadCube
from app.luts.formats.text_format import MAX_LINE, comment, printable, triples
from app.luts.lut3d import Lut3D

_LARGEST_SIZE = {"LUT_1D_SIZE": 65536, "LUT_3D_SIZE": 256}
_DOMAIN = {"DOMAIN_MIN": 3, "DOMAIN_MAX": 3}
_RANGES = {"LUT_1D_INPUT_RANGE": 2, "LUT_3D_INPUT_RANGE": 2}
_NUMBERS = {"TITLE": 0, "LUT_1D_SIZE": 1, "LUT_3D_SIZE": 1} | _DOMAIN | _RANGES

_LARGEST = 1e6  # of the magnitudes in a line, added up: no colour is coded so far out
_NARROWEST = 1e-3  # a narrower domain is a mistake, and exceeds float32's precision
_EVERY_LEVEL = 65536  # samples of a curve that hold each 16-bit and each 8-bit input

Line: TypeAlias = tuple[int, list[str]]  # its number, and its words
Keywords: TypeAlias = dict[str, tuple[int, list[float]]]  # the line's number, and its numbers
Domain: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]  # (3, 1) minima, maxima


def write_cube(lut: Lut3D, *, title: str, comments: Iterable[str] = ()) -> str:
    """A .cube file of what ffmpeg, OpenColorIO, Pillow, Resolve, Photoshop and others agree on.

    Args:
        lut: without a shaper, which the dialects do not share: resample it first.
        title: for the TITLE line. Here and in comments, anything but printable ASCII, and the
            quotation mark, is replaced; what does not fit in a line is cut.
        comments: for lines before the title.

    Raises:
        ValueError: `lut` has a shaper.
    """
    if lut.shaper is not None:
        raise ValueError("a .cube file holds no shaper: resample the LUT")
    header = [*map(comment, comments), f'TITLE "{printable(title, MAX_LINE - 8)}"']
    header += [f"LUT_3D_SIZE {lut.size}"]
    return "\n".join(header) + "\n" + triples(lut.table.reshape(-1, 3))


def write_resolve_cube(lut: Lut3D, *, title: str, comments: Iterable[str] = ()) -> str:
    """A .cube file of Resolve's dialect, which holds a shaper as well: a 1D before a 3D table.

    Args:
        lut: with a shaper or without.
        title: for the first comment; the dialect has no TITLE line.
        comments: for lines after it, as in `write_cube`.
    """
    header = [comment(line) for line in (title, *comments)]
    entries = lut.table.reshape(-1, 3)
    if lut.shaper is not None:
        header += [f"LUT_1D_SIZE {lut.shaper.shape[1]}", "LUT_1D_INPUT_RANGE 0.0 1.0"]
        entries = np.concatenate([lut.shaper.T, entries])
    header += [f"LUT_3D_SIZE {lut.size}", "LUT_3D_INPUT_RANGE 0.0 1.0"]
    return "\n".join(header) + "\n" + triples(entries)


def read_cube(text: str) -> Lut3D:
    """Read a .cube file of either dialect.

    A 1D table becomes a shaper before a table that is the identity; a domain, which is an affine
    curve, becomes a shaper too. Line ends, tabs, blank lines, comments, a byte-order mark and
    the order of the keywords are free. Work and memory are bounded by the length of the text,
    whatever sizes it announces.

    Raises:
        BadCube: with the number of the line, and what was expected there.
    """
    lines = _content(text)
    keywords, first = _read_keywords(lines)
    samples, size = _sizes(keywords, first)
    rows = _read_rows(chain([first], lines), samples + size**3)
    shaper = _curves(rows[:samples], _domain(keywords, "1D")) if samples else None
    if not size:
        return Lut3D(Lut3D.identity(2).table, shaper)
    table = rows[samples:].astype(np.float32).reshape(size, size, size, 3)
    return Lut3D(table, _into(_domain(keywords, "3D"), shaper))


def _content(text: str) -> Iterator[Line]:
    """The lines that say something, and at last an empty one for the end of the file."""
    number = 1
    for number, line in enumerate(StringIO(text.removeprefix("\ufeff"), newline=None), 1):
        if line.isspace() or line.lstrip().startswith("#"):
            continue
        if len(line) > MAX_LINE + 1:
            raise _bad(number, f"at most {MAX_LINE} characters")
        yield number, line.split()
    yield number, []


def _read_keywords(lines: Iterator[Line]) -> tuple[Keywords, Line]:
    """The keywords, and the line after them."""
    keywords: Keywords = {}
    for number, words in lines:
        if not words or words[0][0] in "+-.0123456789":
            return keywords, (number, words)
        keyword, *values = words
        if keyword not in _NUMBERS:
            raise _bad(number, f"three numbers or one of {', '.join(_NUMBERS)}")
        if keyword in keywords:
            raise _bad(number, f"{keyword} only once")
        count = _NUMBERS[keyword]
        keywords[keyword] = number, _numbers(number, values, count) if count else []
    raise AssertionError("the last line is empty")


def _sizes(keywords: Keywords, first: Line) -> tuple[int, int]:
    """The sizes of the 1D and of the 3D table, 0 for none."""
    if not keywords.keys() & _LARGEST_SIZE:
        raise _bad(first[0], "LUT_1D_SIZE or LUT_3D_SIZE before this line")
    if keywords.keys() & _RANGES or keywords.keys() >= _LARGEST_SIZE.keys():
        for keyword in keywords.keys() & _DOMAIN:
            raise _bad(keywords[keyword][0], f"{' or '.join(_RANGES)} in this dialect")
    for keyword in keywords.keys() & _RANGES:
        size = keyword.replace("INPUT_RANGE", "SIZE")
        if size not in keywords:
            raise _bad(keywords[keyword][0], f"{keyword} only with {size}")
    return _size(keywords, "LUT_1D_SIZE"), _size(keywords, "LUT_3D_SIZE")


def _size(keywords: Keywords, keyword: str) -> int:
    if keyword not in keywords:
        return 0
    number, (size,) = keywords[keyword]
    if size not in range(2, _LARGEST_SIZE[keyword] + 1):
        raise _bad(number, f"{keyword} from 2 to {_LARGEST_SIZE[keyword]}")
    return int(size)


def _domain(keywords: Keywords, dimension: str) -> Domain:
    """The inputs (3, 1) of the first and of the last position of a table."""
    number, (low, high) = keywords.get(f"LUT_{dimension}_INPUT_RANGE", (0, (0.0, 1.0)))
    lower_line, lowest = keywords.get("DOMAIN_MIN", (number, [low] * 3))
    upper_line, highest = keywords.get("DOMAIN_MAX", (number, [high] * 3))
    domain = np.array([lowest, highest])
    if (domain[1] - domain[0] < _NARROWEST).any():
        raise _bad(max(lower_line, upper_line), "a domain that ends above its beginning")
    return domain[0, :, np.newaxis], domain[1, :, np.newaxis]


def _read_rows(lines: Iterable[Line], count: int) -> NDArray[np.float64]:
    """Exactly `count` rows (count, 3)."""
    entries = array("d")
    found = 0
    for number, words in lines:
        if not words:
            break
        if found == count:
            raise _bad(number, f"the end of the file after {count} rows")
        entries.extend(_numbers(number, words, 3))
        found += 1
    if found < count:
        raise _bad(number, f"{count} rows before the end of the file, not {found}")
    return np.array(entries).reshape(-1, 3)


def _numbers(line: int, words: list[str], count: int) -> list[float]:
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    # One comparison for NaN, infinity and absurd numbers.
    if len(numbers) != count or not sum(map(abs, numbers)) <= _LARGEST:
        raise _bad(line, f"{count} finite numbers" if count > 1 else "a number")
    return numbers


def _curves(rows: NDArray[np.float64], domain: Domain) -> NDArray[np.float32]:
    """The rows of a 1D table as a shaper (3, M)."""
    low, high = domain
    if (low == 0).all() and (high == 1).all():
        return rows.T.astype(np.float32)
    position = (np.linspace(0, 1, _EVERY_LEVEL) - low) / (high - low) * (len(rows) - 1)
    curves = [np.interp(position[c], np.arange(len(rows)), rows[:, c]) for c in range(3)]
    return np.array(curves, np.float32)


def _into(domain: Domain, shaper: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    """A shaper whose values are inputs of a table, as one whose values are its coordinates."""
    low, high = domain
    if (low == 0).all() and (high == 1).all():
        return shaper
    inputs = np.array([0.0, 1.0]) if shaper is None else shaper
    coordinates: NDArray[np.float64] = (inputs - low) / (high - low)
    return coordinates.astype(np.float32)


def _bad(line: int, expected: str) -> BadCube:
    return BadCube(f"line {line}: expected {expected}")
