"""The .cube format, its dialect of Resolve, and Panasonic's .vlt, a .cube of integers.

Sources: Adobe, "Cube LUT Specification", version 1.0 (2013): TITLE, DOMAIN_MIN, DOMAIN_MAX and
either LUT_1D_SIZE or LUT_3D_SIZE; the LUT format of Blackmagic DaVinci Resolve, which has
LUT_1D_INPUT_RANGE and LUT_3D_INPUT_RANGE instead of a domain, and may put a 1D table before a
3D one; files written by Panasonic's programs: 17 lattice points on an axis, 12-bit integers.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from io import StringIO
from itertools import chain
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.errors import BadLutFile
from app.luts.formats.base import (
    MAX_LINE,
    Depth,
    LutCodec,
    LutLayout,
    LutMetadata,
    format_comment,
    format_integers,
    format_triples,
    make_text_reader,
    make_text_writer,
    to_printable,
)
from app.luts.lut3d import Lut3D

_MAX_SIZE = {"LUT_1D_SIZE": 65536, "LUT_3D_SIZE": 256}
_DOMAIN = {"DOMAIN_MIN": 3, "DOMAIN_MAX": 3}
_RANGES = {"LUT_1D_INPUT_RANGE": 2, "LUT_3D_INPUT_RANGE": 2}
# How many numbers follow each keyword.
_NUMBERS = {"TITLE": 0, "LUT_1D_SIZE": 1, "LUT_3D_SIZE": 1} | _DOMAIN | _RANGES

_MAX_SUM = 1e6  # of the magnitudes in a line: no colour encoding reaches so far
_MIN_DOMAIN = 1e-3  # a narrower domain is a mistake, and exceeds the precision of float32
_EVERY_LEVEL = 65536  # samples of a curve that include each 16-bit and each 8-bit input

# Cameras accept exactly these comments, and no title.
_VLT_HEADER = '# panasonic vlt file version 1.0\n# source vlt file ""\n'
_VLT_TOP = 4095

Line: TypeAlias = tuple[int, list[str]]  # its number, and its words
Keywords: TypeAlias = dict[str, tuple[int, list[float]]]  # the line's number, and its numbers
Domain: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]  # (3, 1) minima, maxima


def write_cube(lut: Lut3D, *, title: str, comments: Iterable[str] = ()) -> str:
    """Write the subset of .cube that ffmpeg, OpenColorIO, Pillow, Resolve and Photoshop share.

    Args:
        lut: without a shaper, which the dialects do not share; resample it first.
        title: for the TITLE line. In the title and the comments, anything but printable ASCII
            and the quotation mark are replaced, and lines are cut at 250 characters.
        comments: for lines before the title.

    Raises:
        ValueError: `lut` has a shaper.
    """
    if lut.shaper is not None:
        raise ValueError("a .cube file holds no shaper: resample the LUT")
    header = [*map(format_comment, comments), f'TITLE "{to_printable(title, MAX_LINE - 8)}"']
    header += [f"LUT_3D_SIZE {lut.size}"]
    return "\n".join(header) + "\n" + format_triples(lut.table.reshape(-1, 3))


def write_resolve_cube(lut: Lut3D, *, title: str, comments: Iterable[str] = ()) -> str:
    """Write a .cube file of Resolve's dialect; a shaper becomes the 1D table.

    Args:
        lut: with a shaper or without.
        title: for the first comment; the dialect has no TITLE line.
        comments: for the lines after it, as in `write_cube`.
    """
    header = [format_comment(line) for line in (title, *comments)]
    entries = lut.table.reshape(-1, 3)
    if lut.shaper is not None:
        header += [f"LUT_1D_SIZE {lut.shaper.shape[1]}", "LUT_1D_INPUT_RANGE 0.0 1.0"]
        entries = np.concatenate([lut.shaper.T, entries])
    header += [f"LUT_3D_SIZE {lut.size}", "LUT_3D_INPUT_RANGE 0.0 1.0"]
    return "\n".join(header) + "\n" + format_triples(entries)


def read_cube(text: str) -> Lut3D:
    """Read a .cube file of either dialect.

    A 1D table becomes a shaper before the identity table. A domain, which is an affine curve,
    becomes a shaper too. Line ends, tabs, blank lines, comments, a byte-order mark and the order
    of the keywords are free. Work and memory are bounded by the length of the text, whatever
    sizes it announces.

    Raises:
        BadLutFile: with the number of the line, and its expected content.
    """
    lines = _split_lines(text)
    keywords, first = _read_keywords(lines)
    samples, size = _read_sizes(keywords, first)
    rows = _read_rows(chain([first], lines), samples + size**3)
    shaper = _make_shaper(rows[:samples], _read_domain(keywords, "1D")) if samples else None
    if not size:
        return Lut3D(Lut3D.identity(2).table, shaper)
    table = rows[samples:].astype(np.float32).reshape(size, size, size, 3)
    return Lut3D(table, _apply_domain(_read_domain(keywords, "3D"), shaper))


def write_vlt(lut: Lut3D, _: LutMetadata, layout: LutLayout) -> bytes:
    """Write a .vlt file of a LUT of 17 points an axis without a shaper."""
    entries = layout.depth.to_integers(lut.table.reshape(-1, 3))
    return f"{_VLT_HEADER}LUT_3D_SIZE {lut.size}\n\n{format_integers(entries)}".encode("ascii")


def read_vlt(text: str) -> Lut3D:
    """Read a .vlt file, which is a .cube file of integers.

    Raises:
        BadLutFile: with the number of the line, and its expected content.
    """
    lut = read_cube(text)
    return Lut3D(lut.table / np.float32(_VLT_TOP), lut.shaper)


CUBE_CODEC = LutCodec(
    name="cube",
    suffix=".cube",
    media_type="text/plain; charset=us-ascii",
    description="Adobe Cube LUT 1.0, for nearly every program",
    write=make_text_writer(write_cube),
    read=make_text_reader(read_cube),
)

RESOLVE_CODEC = LutCodec(
    name="resolve",
    suffix=".cube",
    media_type="text/plain; charset=us-ascii",
    description=".cube of DaVinci Resolve: a 1D before a 3D table",
    write=make_text_writer(write_resolve_cube),
    read=CUBE_CODEC.read,  # one reader for both dialects
    holds_shaper=True,
)

VLT_CODEC = LutCodec(
    name="vlt",
    suffix=".vlt",
    media_type="text/plain; charset=us-ascii",
    description=".vlt of Panasonic cameras, 12-bit integers",
    write=write_vlt,
    read=make_text_reader(read_vlt),
    sizes=(17,),
    depths=(Depth.UINT12,),
)


def _split_lines(text: str) -> Iterator[Line]:
    """Yield the lines that are neither blank nor comments, and an empty one at the end."""
    number = 1
    for number, line in enumerate(StringIO(text.removeprefix("\ufeff"), newline=None), 1):
        if line.isspace() or line.lstrip().startswith("#"):
            continue
        if len(line) > MAX_LINE + 1:
            raise _error(number, f"at most {MAX_LINE} characters")
        yield number, line.split()
    yield number, []


def _read_keywords(lines: Iterator[Line]) -> tuple[Keywords, Line]:
    """Return the keywords, and the line after them."""
    keywords: Keywords = {}
    for number, words in lines:
        if not words or words[0][0] in "+-.0123456789":
            return keywords, (number, words)
        keyword, *values = words
        if keyword not in _NUMBERS:
            raise _error(number, f"three numbers or one of {', '.join(_NUMBERS)}")
        if keyword in keywords:
            raise _error(number, f"{keyword} only once")
        count = _NUMBERS[keyword]
        keywords[keyword] = number, _parse_numbers(number, values, count) if count else []
    raise AssertionError("the last line is empty")


def _read_sizes(keywords: Keywords, first: Line) -> tuple[int, int]:
    """Return the sizes of the 1D and of the 3D table, 0 for none."""
    if not keywords.keys() & _MAX_SIZE:
        raise _error(first[0], "LUT_1D_SIZE or LUT_3D_SIZE before this line")
    if keywords.keys() & _RANGES or keywords.keys() >= _MAX_SIZE.keys():
        for keyword in keywords.keys() & _DOMAIN:
            raise _error(keywords[keyword][0], f"{' or '.join(_RANGES)} in this dialect")
    for keyword in keywords.keys() & _RANGES:
        size = keyword.replace("INPUT_RANGE", "SIZE")
        if size not in keywords:
            raise _error(keywords[keyword][0], f"{keyword} only with {size}")
    return _read_size(keywords, "LUT_1D_SIZE"), _read_size(keywords, "LUT_3D_SIZE")


def _read_size(keywords: Keywords, keyword: str) -> int:
    if keyword not in keywords:
        return 0
    number, (size,) = keywords[keyword]
    if size not in range(2, _MAX_SIZE[keyword] + 1):
        raise _error(number, f"{keyword} from 2 to {_MAX_SIZE[keyword]}")
    return int(size)


def _read_domain(keywords: Keywords, dimension: str) -> Domain:
    """Return the inputs (3, 1) of the first and of the last position of a table."""
    number, (low, high) = keywords.get(f"LUT_{dimension}_INPUT_RANGE", (0, (0.0, 1.0)))
    lower_line, lowest = keywords.get("DOMAIN_MIN", (number, [low] * 3))
    upper_line, highest = keywords.get("DOMAIN_MAX", (number, [high] * 3))
    domain = np.array([lowest, highest])
    if (domain[1] - domain[0] < _MIN_DOMAIN).any():
        raise _error(max(lower_line, upper_line), "a domain that ends above its beginning")
    return domain[0, :, np.newaxis], domain[1, :, np.newaxis]


def _read_rows(lines: Iterable[Line], count: int) -> NDArray[np.float64]:
    """Return exactly `count` rows (count, 3)."""
    entries = array("d")
    found = 0
    for number, words in lines:
        if not words:
            break
        if found == count:
            raise _error(number, f"the end of the file after {count} rows")
        entries.extend(_parse_numbers(number, words, 3))
        found += 1
    if found < count:
        raise _error(number, f"{count} rows before the end of the file, not {found}")
    return np.array(entries).reshape(-1, 3)


def _parse_numbers(line: int, words: list[str], count: int) -> list[float]:
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    # One comparison excludes NaN, infinity and numbers out of range.
    if len(numbers) != count or not sum(map(abs, numbers)) <= _MAX_SUM:
        raise _error(line, f"{count} finite numbers" if count > 1 else "a number")
    return numbers


def _make_shaper(rows: NDArray[np.float64], domain: Domain) -> NDArray[np.float32]:
    """Turn the rows of a 1D table into a shaper (3, M)."""
    low, high = domain
    if (low == 0).all() and (high == 1).all():
        return rows.T.astype(np.float32)
    position = (np.linspace(0, 1, _EVERY_LEVEL) - low) / (high - low) * (len(rows) - 1)
    curves = [np.interp(position[c], np.arange(len(rows)), rows[:, c]) for c in range(3)]
    return np.array(curves, np.float32)


def _apply_domain(domain: Domain, shaper: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    """Turn a shaper whose values are inputs of a table into one whose values are coordinates."""
    low, high = domain
    if (low == 0).all() and (high == 1).all():
        return shaper
    inputs = np.array([0.0, 1.0]) if shaper is None else shaper
    coordinates: NDArray[np.float64] = (inputs - low) / (high - low)
    return coordinates.astype(np.float32)


def _error(line: int, expected: str) -> BadLutFile:
    return BadLutFile(f"line {line}: expected {expected}")
