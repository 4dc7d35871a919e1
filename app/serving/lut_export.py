"""LUT files of looks, and the cache of such files."""

from __future__ import annotations

import gzip
from dataclasses import dataclass

from cachetools import LRUCache

from app.luts.export import LutOptions, encode_lut, exported_size
from app.luts.formats import LutFormat
from app.luts.formats.base import LutMetadata
from app.luts.lut_error import ErrorStats
from app.policies import LutPolicy
from app.serving.options import Look

GZIP_LEVEL = 1  # 970 KB of .cube become 430 KB in 11 ms; at level 9, 380 KB in 230 ms


@dataclass(frozen=True, eq=False)
class LutFile:
    """A LUT file and the look that it holds.

    Attributes:
        look: the look, at full strength.
        body: the bytes of the file, compressed if the options require it.
        format: of the file.
        error: how far the file is from the LUT that is applied to images, or None if it holds
            that LUT.
    """

    look: Look
    body: bytes
    format: LutFormat
    error: ErrorStats | None


class LutCache(LRUCache[tuple[str, LutOptions], LutFile]):
    """The most recently used LUT files, by look token and options, which determine a file."""

    def __init__(self, policy: LutPolicy) -> None:
        super().__init__(policy.cache_bytes, getsizeof=_size_in_memory)

    def put(self, token: str, options: LutOptions, file: LutFile) -> None:
        """Store a file, unless it is larger than the whole cache."""
        if _size_in_memory(file) <= self.maxsize:
            self[token, options] = file


def export_lut(look: Look, options: LutOptions) -> LutFile:
    """Encode the LUT of a look, in 10 ms to seconds: call it on a worker thread."""
    card = look.card
    metadata = LutMetadata(title=f"{card.name} look", model=card.model_ref, look=look.token)
    file = encode_lut(look.lut, options, metadata)
    body = gzip.compress(file.body, GZIP_LEVEL) if options.gzipped else file.body
    return LutFile(look, body, options.format, file.error)


def memory_cost(look: Look, options: LutOptions) -> int:
    """Return the memory that `export_lut` takes, in decoded pixels: nine for each entry."""
    return 9 * exported_size(look.lut, options) ** 3


def _size_in_memory(file: LutFile) -> int:
    return len(file.body) + file.look.lut.table.nbytes
