"""LUTs as the files that callers get."""

from __future__ import annotations

import gzip
from dataclasses import asdict, dataclass
from enum import StrEnum

import numpy as np
import orjson
from cachetools import LRUCache

from app.luts.formats.clf import write_clf
from app.luts.formats.csp import write_csp
from app.luts.formats.cube import write_cube, write_resolve_cube
from app.luts.lut3d import FINE_SIZE, Lut3D
from app.luts.lut_error import ErrorStats, lut_error
from app.policies import LutPolicy
from app.serving.options import Look


class LutFormat(StrEnum):
    """The formats that are written."""

    CUBE = "cube"
    RESOLVE = "resolve"
    CSP = "csp"
    CLF = "clf"
    JSON = "json"

    @property
    def suffix(self) -> str:
        """Of a file's name, with the dot."""
        return ".cube" if self is LutFormat.RESOLVE else f".{self.value}"

    @property
    def media_type(self) -> str:
        """For Content-Type."""
        special = {LutFormat.CLF: "application/xml", LutFormat.JSON: "application/json"}
        return special.get(self, "text/plain; charset=us-ascii")

    @property
    def holds_shaper(self) -> bool:
        """Whether curves before the table are written as they are."""
        return self not in (LutFormat.CUBE, LutFormat.JSON)


GZIP_LEVEL = 1  # 970 KB of .cube become 430 KB in 11 ms; at level 9, 380 KB in 230 ms

_WRITERS = {
    LutFormat.CUBE: write_cube,
    LutFormat.RESOLVE: write_resolve_cube,
    LutFormat.CSP: write_csp,
    LutFormat.CLF: write_clf,
}


@dataclass(frozen=True)
class LutOptions:
    """How a LUT is written.

    Attributes:
        format: of the file.
        size: lattice points on an axis, 2..129; None is the model's own, or 65 where the format
            has no room for the model's shaper.
        strength: 0 is the identity, 1 the whole look.
        title: what the file calls the LUT; None names the model.
        clamp: clamp the table to 0..1, for readers that refuse other values.
        gzipped: compress the file.
    """

    format: LutFormat = LutFormat.CUBE
    size: int | None = None
    strength: float = 1.0
    title: str | None = None
    clamp: bool = False
    gzipped: bool = False


@dataclass(frozen=True, eq=False)
class LutFile:
    """A LUT, written.

    Attributes:
        look: whose LUT it is.
        body: the file's bytes, compressed where that was wished for.
        format: what they are.
        error: how far the file is from the LUT that photographs go through, or None where it
            holds just that.
    """

    look: Look
    body: bytes
    format: LutFormat
    error: ErrorStats | None


class LutCache(LRUCache[tuple[str, LutOptions], LutFile]):
    """The files of look tokens that were asked for last; a token and a wish say all of a file."""

    def __init__(self, policy: LutPolicy) -> None:
        super().__init__(policy.cache_bytes, getsizeof=_size_in_memory)

    def put(self, token: str, options: LutOptions, file: LutFile) -> None:
        """Keeps a file, unless it is larger than the whole cache."""
        if _size_in_memory(file) <= self.maxsize:
            self[token, options] = file


def _size_in_memory(file: LutFile) -> int:
    return len(file.body) + file.look.lut.table.nbytes


def export_lut(look: Look, options: LutOptions) -> LutFile:
    """The LUT of a look as a file. Takes 10 ms to seconds: call it on a worker thread."""
    exact = look.lut.at_strength(options.strength)
    lut = _fit(exact, options)
    error = None if lut is exact else lut_error(exact, lut)
    write = _json if options.format is LutFormat.JSON else _text
    body = write(look, lut, options, error)
    if options.gzipped:
        body = gzip.compress(body, GZIP_LEVEL)
    return LutFile(look, body, options.format, error)


def memory_cost(look: Look, options: LutOptions) -> int:
    """What writing the file takes in memory, in pixels of a photograph: a line is nine of them."""
    return 9 * _size(look.lut, options) ** 3


def _fit(lut: Lut3D, options: LutOptions) -> Lut3D:
    """The same LUT where the format has room for it at the size and range wished for."""
    size = _size(lut, options)
    if not _fits(lut, options) or size != lut.size:
        lut = lut.resampled(size)
    return lut.clamped() if options.clamp else lut


def _fits(lut: Lut3D, options: LutOptions) -> bool:
    return lut.shaper is None or options.format.holds_shaper


def _size(lut: Lut3D, options: LutOptions) -> int:
    return options.size or (lut.size if _fits(lut, options) else FINE_SIZE)


def _title(look: Look, options: LutOptions) -> str:
    return options.title or f"{look.card.name} look"


def _text(look: Look, lut: Lut3D, options: LutOptions, error: ErrorStats | None) -> bytes:
    comments = [
        f"model {look.card.model_ref}",
        f"strength {options.strength:g}",
        f"look {look.token}",
    ]
    if error is not None:
        comments.append(f"error in 8-bit levels {error}")
    return _WRITERS[options.format](lut, title=_title(look, options), comments=comments).encode(
        "ascii"
    )


def _json(look: Look, lut: Lut3D, options: LutOptions, error: ErrorStats | None) -> bytes:
    document = {
        "title": _title(look, options),
        "model": look.card.model_ref,
        "look": look.token,
        "strength": options.strength,
        "error": error and asdict(error),
        "size": lut.size,
        "order": "rows of [r, g, b], red fastest, as in a .cube file",
        "table": np.ascontiguousarray(lut.table.reshape(-1, 3)),
    }
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
