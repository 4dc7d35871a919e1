"""The look token: a look as a short text for URLs, which needs no store on the server.

Layout, little-endian, before base64url without padding (RFC 4648, section 5):

    kind          1 byte    1: float32 code, 2: float16 code
    length        2 bytes   K, the number of values in the code
    fingerprint   8 bytes   the first bytes of the SHA-256 of the model's weights
    code          K values
    checksum      4 bytes   CRC-32 of the bytes before it
"""

from __future__ import annotations

import base64
import re
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from app.errors import CorruptedLook, MalformedLook, TruncatedLook

FINGERPRINT_SIZE = 8
MAX_VALUES = 1024

_HEADER = struct.Struct(f"<BH{FINGERPRINT_SIZE}s")
_CHECKSUM = struct.Struct("<I")
_FLOAT32, _FLOAT16 = 1, 2
_VALUES: dict[int, np.dtype[Any]] = {_FLOAT32: np.dtype("<f4"), _FLOAT16: np.dtype("<f2")}
_MAX_TEXT = (_HEADER.size + MAX_VALUES * 4 + _CHECKSUM.size) * 4 // 3 + 1
_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")


@dataclass(frozen=True, eq=False)
class LookToken:
    """A model and the code that it decodes to a LUT: enough to rebuild a look on any replica.

    Attributes:
        fingerprint: the first 8 bytes of the SHA-256 of the model's weights.
        code: float32 (K,), K in 1..1024, finite.

    Raises:
        ValueError: a field has another size, dtype or range.
    """

    fingerprint: bytes
    code: NDArray[np.float32]

    def __post_init__(self) -> None:
        if len(self.fingerprint) != FINGERPRINT_SIZE:
            raise ValueError(f"a fingerprint must have {FINGERPRINT_SIZE} bytes")
        if self.code.dtype != np.float32 or self.code.ndim != 1:
            raise ValueError(f"a code must be float32 (K,): {self.code.dtype} {self.code.shape}")
        if not 1 <= self.code.size <= MAX_VALUES or not np.isfinite(self.code).all():
            raise ValueError(f"a code must have 1..{MAX_VALUES} finite values")

    def encode(self, *, half: bool = False) -> str:
        """Return the token in A-Z, a-z, 0-9, "-", "_": 127 characters for 20 values, 74 if `half`.

        Args:
            half: whether to round the code to float16, limited to -65504..65504.
        """
        kind = _FLOAT16 if half else _FLOAT32
        limit = np.finfo(_VALUES[kind]).max
        values = np.clip(self.code, -limit, limit).astype(_VALUES[kind])
        body = _HEADER.pack(kind, values.size, self.fingerprint) + values.tobytes()
        return _encode_base64(body + _CHECKSUM.pack(zlib.crc32(body)))

    @classmethod
    def decode(cls, text: str) -> Self:
        """Decode a token. Each kind has exactly one text for a fingerprint and a code.

        Raises:
            MalformedLook: the text is too long, has other characters, or is of an unknown kind.
            TruncatedLook: the token is shorter than its header states.
            CorruptedLook: the token is longer, or its checksum or values are wrong.
        """
        if len(text) > _MAX_TEXT or not _ALPHABET.fullmatch(text):
            raise MalformedLook("A look token must be base64url without padding.")
        token = _decode_base64(text)
        if token and token[0] not in _VALUES:
            raise MalformedLook("The version of the look token is unknown.")
        size = _read_size(token)
        if len(token) < size:
            raise TruncatedLook(f"The look token has {len(token)} bytes of {size}.")
        # Encoding the bytes again detects surplus bits in the last character.
        if len(token) > size or _encode_base64(token) != text:
            raise CorruptedLook("The look token continues after its end.")
        return cls(*_unpack(token))


def _unpack(token: bytes) -> tuple[bytes, NDArray[np.float32]]:
    kind, length, fingerprint = _HEADER.unpack_from(token)
    body, (checksum,) = token[: -_CHECKSUM.size], _CHECKSUM.unpack(token[-_CHECKSUM.size :])
    if zlib.crc32(body) != checksum:
        raise CorruptedLook("The checksum of the look token is wrong.")
    code = np.frombuffer(body, _VALUES[kind], offset=_HEADER.size).astype(np.float32)
    if not 1 <= length <= MAX_VALUES or not np.isfinite(code).all():
        raise CorruptedLook("The look token holds no finite values.")
    return fingerprint, code


def _read_size(token: bytes) -> int:
    """Return the size that the header states, or that of the header if it is incomplete."""
    if len(token) < _HEADER.size:
        return _HEADER.size
    kind, length, _ = _HEADER.unpack_from(token)
    return _HEADER.size + int(length) * _VALUES[kind].itemsize + _CHECKSUM.size


def _encode_base64(token: bytes) -> str:
    return base64.urlsafe_b64encode(token).decode("ascii").rstrip("=")


def _decode_base64(text: str) -> bytes:
    """Decode the complete bytes of base64url text of any length."""
    padded = text + "A" * (-len(text) % 4)
    return base64.urlsafe_b64decode(padded)[: len(text) * 3 // 4]
