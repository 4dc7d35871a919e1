"""The look token: a look as a short text that travels in URLs, and needs no store behind it.

Layout, little-endian, before base64url without padding (RFC 4648, section 5):

    kind          1 byte    1: float32 code, 2: float16 code
    length        2 bytes   K, the number of values in the code
    fingerprint   8 bytes   the first of the SHA-256 of the model's weights
    code          K values
    checksum      4 bytes   CRC-32 of all before it
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

_HEAD = struct.Struct(f"<BH{FINGERPRINT_SIZE}s")
_CHECKSUM = struct.Struct("<I")
_FLOAT32, _FLOAT16 = 1, 2
_VALUES: dict[int, np.dtype[Any]] = {_FLOAT32: np.dtype("<f4"), _FLOAT16: np.dtype("<f2")}
_LONGEST_TEXT = (_HEAD.size + MAX_VALUES * 4 + _CHECKSUM.size) * 4 // 3 + 1
_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")


@dataclass(frozen=True, eq=False)
class LookToken:
    """What a look is made of, whichever replica rebuilds it.

    Attributes:
        fingerprint: the first 8 bytes of the SHA-256 of the model's weights.
        code: float32 (K,), K in 1..1024, finite: what the model decodes to a LUT.

    Raises:
        ValueError: a field is something else.
    """

    fingerprint: bytes
    code: NDArray[np.float32]

    def __post_init__(self) -> None:
        if len(self.fingerprint) != FINGERPRINT_SIZE:
            raise ValueError(f"a fingerprint has {FINGERPRINT_SIZE} bytes")
        if self.code.dtype != np.float32 or self.code.ndim != 1:
            raise ValueError(f"a code is float32 (K,): {self.code.dtype} {self.code.shape}")
        if not 1 <= self.code.size <= MAX_VALUES or not np.isfinite(self.code).all():
            raise ValueError(f"a code has 1..{MAX_VALUES} finite values")

    def encode(self, *, half: bool = False) -> str:
        """The token: A-Z, a-z, 0-9, "-" and "_"; 127 characters for 20 values, 74 if `half`.

        Args:
            half: round the code to float16; a value beyond its 65504 becomes that.
        """
        kind = _FLOAT16 if half else _FLOAT32
        limit = np.finfo(_VALUES[kind]).max
        values = np.clip(self.code, -limit, limit).astype(_VALUES[kind])
        body = _HEAD.pack(kind, values.size, self.fingerprint) + values.tobytes()
        return _text(body + _CHECKSUM.pack(zlib.crc32(body)))

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read a token back. Of each kind, exactly one text stands for a fingerprint and a code.

        Raises:
            MalformedLook: not of ours: too long, other characters, or an unknown version.
            TruncatedLook: shorter than it says.
            CorruptedLook: longer than it says, or the checksum or the values are wrong.
        """
        if len(text) > _LONGEST_TEXT or not _ALPHABET.fullmatch(text):
            raise MalformedLook("A look token is base64url, without padding.")
        token = _whole_bytes(text)
        if token and token[0] not in _VALUES:
            raise MalformedLook("The look token is of an unknown version.")
        size = _size(token)
        if len(token) < size:
            raise TruncatedLook(f"The look token has {len(token)} bytes of {size}.")
        # Encoding it again tells whether the last character has bits of its own.
        if len(token) > size or _text(token) != text:
            raise CorruptedLook("The look token goes on after its end.")
        return cls(*_unpack(token))


def _unpack(token: bytes) -> tuple[bytes, NDArray[np.float32]]:
    kind, length, fingerprint = _HEAD.unpack_from(token)
    body, (checksum,) = token[: -_CHECKSUM.size], _CHECKSUM.unpack(token[-_CHECKSUM.size :])
    if zlib.crc32(body) != checksum:
        raise CorruptedLook("The look token's checksum is wrong.")
    code = np.frombuffer(body, _VALUES[kind], offset=_HEAD.size).astype(np.float32)
    if not 1 <= length <= MAX_VALUES or not np.isfinite(code).all():
        raise CorruptedLook("The look token's values are no look's.")
    return fingerprint, code


def _size(token: bytes) -> int:
    """The bytes that a token says it has; of one that ends within its head, those of the head."""
    if len(token) < _HEAD.size:
        return _HEAD.size
    kind, length, _ = _HEAD.unpack_from(token)
    return _HEAD.size + int(length) * _VALUES[kind].itemsize + _CHECKSUM.size


def _text(token: bytes) -> str:
    return base64.urlsafe_b64encode(token).decode("ascii").rstrip("=")


def _whole_bytes(text: str) -> bytes:
    """The bytes that base64url text holds entirely, wherever it was cut."""
    padded = text + "A" * (-len(text) % 4)
    return base64.urlsafe_b64decode(padded)[: len(text) * 3 // 4]
