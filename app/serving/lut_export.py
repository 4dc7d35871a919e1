"""LUT files of looks, and the cache of such files."""

from __future__ import annotations

import gzip
from typing import TypeAlias

from cachetools import LRUCache

from app.luts.export import LutOptions, encode_lut, exported_size
from app.luts.formats.base import LutMetadata
from app.luts.lut3d import FINE_SIZE
from app.networks.store import Model
from app.policies import LutPolicy
from app.serving.results import ExportedLut, Look

GZIP_LEVEL = 1  # 970 KB of .cube become 430 KB in 11 ms; at level 9, 380 KB in 230 ms

BYTES_PER_ENTRY = 160  # of the table: measured for json and spi3d, which take most

Key: TypeAlias = tuple[str, LutOptions, bool]  # look token, options, whether with gzip


class LutCache(LRUCache[Key, ExportedLut]):
    """The most recently used LUT files; the key determines all of a file."""

    def __init__(self, policy: LutPolicy) -> None:
        super().__init__(policy.cache_bytes, getsizeof=_size_in_memory)

    def put(self, key: Key, file: ExportedLut) -> None:
        """Store a file, unless it is larger than the whole cache."""
        if _size_in_memory(file) <= self.maxsize:
            self[key] = file


def export_lut(look: Look, options: LutOptions, *, gzipped: bool = False) -> ExportedLut:
    """Encode the LUT of a look, in 10 ms to seconds: call it on a worker thread."""
    card = look.card
    metadata = LutMetadata(title=f"{card.name} look", model=card.model_ref, look=look.token)
    file = encode_lut(look.lut, options, metadata)
    body = gzip.compress(file.body, GZIP_LEVEL) if gzipped else file.body
    return ExportedLut(look, body, options.format, file.error)


def export_memory(model: Model, options: LutOptions) -> int:
    """Return the most bytes of memory that `export_lut` takes for a look of a model."""
    has_shaper = model.network.has_shaper
    size = exported_size(model.card.lut_size, has_shaper, options)
    if has_shaper and options.strength != 1:  # `Lut3D.at_strength` may resample the LUT first
        size = max(size, exported_size(FINE_SIZE, False, options))
    return BYTES_PER_ENTRY * size**3


def _size_in_memory(file: ExportedLut) -> int:
    return len(file.body) + file.look.lut.table.nbytes
