"""The look token: a look as a short text for URLs, which needs no store on the server.

Layout, little-endian, before base64url without padding (RFC 4648, section 5):

    kind          1 byte    1: float32 code, 2: float16 code; 3, 4: the same, and a map
    length        2 bytes   K, the number of values in the code
    fingerprint   8 bytes   the first bytes of the SHA-256 of the model's weights
    code          K values
    map           kinds 3 and 4 only:
      shape       4 bytes   of the map, see `app.luts.local_lut`
      size        2 bytes   of the cells, compressed
      cells                 differences from the cell at the left of those from the level below,
                            modulo 256, compressed by deflate (RFC 1950)
    checksum      4 bytes   CRC-32 of the bytes before it
"""

from __future__ import annotations

import base64
import re
import struct
import zlib
from dataclasses import dataclass
from math import prod
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.errors import CorruptedLook, MalformedLook, TruncatedLook

FINGERPRINT_SIZE = 8
MAX_VALUES = 1024

MAX_TEXT = 8192  # characters: proxies and clients reject longer headers and URLs

_HEADER = struct.Struct(f"<BH{FINGERPRINT_SIZE}s")
_MAP_HEADER = struct.Struct("<4BH")
_CHECKSUM = struct.Struct("<I")
_FLOAT32, _FLOAT16, _MAPPED = 1, 2, 2  # the last is added to the others
_VALUES: dict[int, np.dtype[Any]] = {_FLOAT32: np.dtype("<f4"), _FLOAT16: np.dtype("<f2")}
_KINDS = {*_VALUES, *(kind + _MAPPED for kind in _VALUES)}
MAX_CELLS = 1 << 16

Map: TypeAlias = NDArray[np.uint8]
_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")


@dataclass(frozen=True, eq=False)
class LookToken:
    """A model and the code that it decodes to a LUT: enough to rebuild a look on any replica.

    Attributes:
        fingerprint: the first 8 bytes of the SHA-256 of the model's weights.
        code: float32 (K,), K in 1..1024, finite; without the cells of the map.
        map: uint8, four axes, as in `LocalLut`; None where a look has none, or only its tables
            are given.

    Raises:
        ValueError: a field has another size, dtype or range.
    """

    fingerprint: bytes
    code: NDArray[np.float32]
    map: Map | None = None

    def __post_init__(self) -> None:
        if len(self.fingerprint) != FINGERPRINT_SIZE:
            raise ValueError(f"a fingerprint must have {FINGERPRINT_SIZE} bytes")
        if self.code.dtype != np.float32 or self.code.ndim != 1:
            raise ValueError(f"a code must be float32 (K,): {self.code.dtype} {self.code.shape}")
        if not 1 <= self.code.size <= MAX_VALUES or not np.isfinite(self.code).all():
            raise ValueError(f"a code must have 1..{MAX_VALUES} finite values")
        if self.map is not None and (self.map.dtype != np.uint8 or self.map.ndim != 4):
            raise ValueError(f"a map must be uint8 with four axes: {self.map.shape}")

    def encode(self, *, half: bool = False) -> str:
        """Return the token in A-Z, a-z, 0-9, "-", "_": 127 characters for 20 values, 74 if `half`.

        A map of 2048 cells adds about 1,900. A map with which the text would be longer than
        `MAX_TEXT` is left out.

        Args:
            half: whether to round the code to float16, limited to -65504..65504.
        """
        kind = _FLOAT16 if half else _FLOAT32
        limit = np.finfo(_VALUES[kind]).max
        values = np.clip(self.code, -limit, limit).astype(_VALUES[kind])
        if self.map is not None:
            text = self._seal(kind + _MAPPED, values, _pack_map(self.map))
            if len(text) <= MAX_TEXT:
                return text
        return self._seal(kind, values)

    def _seal(self, kind: int, values: NDArray[Any], packed_map: bytes = b"") -> str:
        body = _HEADER.pack(kind, values.size, self.fingerprint) + values.tobytes() + packed_map
        return _encode_base64(body + _CHECKSUM.pack(zlib.crc32(body)))

    @classmethod
    def decode(cls, text: str) -> Self:
        """Decode a token. Kinds 1 and 2 have exactly one text for a fingerprint and a code.

        Raises:
            MalformedLook: the text is too long, has other characters, or is of an unknown kind.
            TruncatedLook: the token is shorter than its header states.
            CorruptedLook: the token is longer, or its checksum or values are wrong.
        """
        if len(text) > MAX_TEXT or not _ALPHABET.fullmatch(text):
            raise MalformedLook("A look token must be base64url without padding.")
        token = _decode_base64(text)
        if token and token[0] not in _KINDS:
            raise MalformedLook("The version of the look token is unknown.")
        size = _read_size(token)
        if len(token) < size:
            raise TruncatedLook(f"The look token has {len(token)} bytes of {size}.")
        # Encoding the bytes again detects surplus bits in the last character.
        if len(token) > size or _encode_base64(token) != text:
            raise CorruptedLook("The look token continues after its end.")
        return cls(*_unpack(token))


def _unpack(token: bytes) -> tuple[bytes, NDArray[np.float32], Map | None]:
    kind, length, fingerprint = _HEADER.unpack_from(token)
    body, (checksum,) = token[: -_CHECKSUM.size], _CHECKSUM.unpack(token[-_CHECKSUM.size :])
    if zlib.crc32(body) != checksum:
        raise CorruptedLook("The checksum of the look token is wrong.")
    if not 1 <= length <= MAX_VALUES:
        raise CorruptedLook("The look token holds too few or too many numbers.")
    values = np.frombuffer(body, _value_type(kind), length, _HEADER.size)
    code = values.astype(np.float32)
    if not np.isfinite(code).all():
        raise CorruptedLook("The look token holds no finite values.")
    has_map = kind not in _VALUES
    return fingerprint, code, _unpack_map(body[_HEADER.size + values.nbytes :]) if has_map else None


def _pack_map(cells: Map) -> bytes:
    # Neighbouring levels and cells have like shares.
    packed = zlib.compress(_differences(_differences(cells, 1), 3).tobytes(), 9)
    return _MAP_HEADER.pack(*cells.shape, len(packed)) + packed


def _unpack_map(packed: bytes) -> Map:
    *shape, _ = _MAP_HEADER.unpack_from(packed)
    count = prod(shape)
    inflater = zlib.decompressobj()
    try:
        cells = inflater.decompress(packed[_MAP_HEADER.size :], min(count, MAX_CELLS) + 1)
    except zlib.error as error:
        raise CorruptedLook("The map of the look token cannot be decompressed.") from error
    if len(cells) != count or not count or not inflater.eof or inflater.unused_data:
        raise CorruptedLook("The map of the look token has another size than it states.")
    # Sums of uint8 are modulo 256.
    levels = np.frombuffer(cells, np.uint8).reshape(shape).cumsum(axis=3, dtype=np.uint8)
    return levels.cumsum(axis=1, dtype=np.uint8)


def _differences(cells: Map, axis: int) -> Map:
    """Return the differences along an axis, modulo 256; the first cells stay."""
    first = cells.take([0], axis)
    return np.concatenate((first, np.diff(cells, axis=axis)), axis=axis)


def _value_type(kind: int) -> np.dtype[Any]:
    return _VALUES[kind if kind in _VALUES else kind - _MAPPED]


def _read_size(token: bytes) -> int:
    """Return the size that the headers state, or that of the headers that are incomplete."""
    if len(token) < _HEADER.size:
        return _HEADER.size
    kind, length, _ = _HEADER.unpack_from(token)
    size = _HEADER.size + int(length) * _value_type(kind).itemsize
    if kind in _VALUES:
        return size + _CHECKSUM.size
    if len(token) < size + _MAP_HEADER.size:
        return size + _MAP_HEADER.size
    return size + _MAP_HEADER.size + int(_MAP_HEADER.unpack_from(token, size)[4]) + _CHECKSUM.size


def _encode_base64(token: bytes) -> str:
    return base64.urlsafe_b64encode(token).decode("ascii").rstrip("=")


def _decode_base64(text: str) -> bytes:
    """Decode the complete bytes of base64url text of any length."""
    padded = text + "A" * (-len(text) % 4)
    return base64.urlsafe_b64decode(padded)[: len(text) * 3 // 4]
