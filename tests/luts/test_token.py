from __future__ import annotations

import base64
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from app.errors import CorruptedLook, MalformedLook, TruncatedLook
from app.luts.token import LookToken

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

codes = npst.arrays(
    np.float32,
    st.integers(1, 40),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)
tokens = st.builds(LookToken, st.binary(min_size=8, max_size=8), codes)


@pytest.fixture
def token() -> LookToken:
    """A look of CLUT-Net: twenty weights."""
    return LookToken(b"\x01\xffmodel\x80", np.linspace(-4, 4, 20).astype(np.float32))


def sealed(kind: int, values: bytes, length: int) -> str:
    """A token with the right checksum, whatever is in it."""
    body = struct.pack("<BH8s", kind, length, b"whatever") + values
    data = body + struct.pack("<I", zlib.crc32(body))
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@given(token=tokens)
def test_a_token_comes_back_bit_for_bit(token: LookToken) -> None:
    """The same weights make the same table, on any replica."""
    decoded = LookToken.decode(token.encode())
    assert decoded.fingerprint == token.fingerprint
    assert decoded.code.dtype == np.float32
    assert decoded.code.tobytes() == token.code.tobytes()


@given(token=tokens)
def test_a_half_precision_token_comes_back_rounded(token: LookToken) -> None:
    """Half the length for three decimal digits; numbers too large become the largest."""
    decoded = LookToken.decode(token.encode(half=True))
    rounded = np.clip(token.code, -65504, 65504).astype(np.float16)
    np.testing.assert_array_equal(decoded.code, rounded.astype(np.float32))


@given(token=tokens, half=st.booleans())
def test_a_decoded_token_encodes_to_the_same_text(token: LookToken, half: bool) -> None:
    """So it may stand in an ETag or name an entry of a cache."""
    text = token.encode(half=half)
    assert LookToken.decode(text).encode(half=half) == text


def test_tokens_are_short_and_safe_in_urls(token: LookToken) -> None:
    """Twenty weights take 127 characters, none of which a URL or a file name would escape."""
    text, half = token.encode(), token.encode(half=True)
    assert (len(text), len(half)) == (127, 74)
    assert set(text + half) <= set(ALPHABET)


def test_the_format_stays() -> None:
    """A token handed out once is good for ever: this one was made when the format was."""
    text = "AQIAAQIDBAUGBwgAAAA_AACAv8pQNtg"
    decoded = LookToken.decode(text)
    assert decoded.fingerprint == bytes(range(1, 9))
    np.testing.assert_array_equal(decoded.code, [0.5, -1.0])


@pytest.mark.parametrize("half", [False, True])
def test_every_changed_character_is_refused(token: LookToken, half: bool) -> None:
    """No slip of a finger gives another look."""
    text = token.encode(half=half)
    for position in range(len(text)):
        for character in ALPHABET.replace(text[position], "") + "=+/.% é":
            with pytest.raises((MalformedLook, TruncatedLook, CorruptedLook)):
                LookToken.decode(text[:position] + character + text[position + 1 :])


@pytest.mark.parametrize("length", [1, 2, 3, 20])
@pytest.mark.parametrize("half", [False, True])
def test_every_beginning_is_called_truncated(token: LookToken, half: bool, length: int) -> None:
    """A token cut by a chat program or a log is told apart from a damaged one."""
    text = LookToken(token.fingerprint, token.code[:length]).encode(half=half)
    for end in range(len(text)):
        with pytest.raises(TruncatedLook):
            LookToken.decode(text[:end])


@given(token=tokens, half=st.booleans(), tail=st.text(ALPHABET, min_size=1, max_size=9))
def test_anything_after_the_end_is_refused(token: LookToken, half: bool, tail: str) -> None:
    """One token, one text: nothing is ignored."""
    with pytest.raises(CorruptedLook):
        LookToken.decode(token.encode(half=half) + tail)


@pytest.mark.parametrize("text", ["a.b", "AQ==", "ключ", "AQ\n", " ", "A" * 6000, "AwAA", "____"])
def test_what_is_no_token_is_malformed(text: str) -> None:
    """Other characters, an unknown version, or longer than any token."""
    with pytest.raises(MalformedLook):
        LookToken.decode(text)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("kind", "dtype"), [(1, "<f4"), (2, "<f2")])
def test_numbers_that_are_none_are_refused(value: float, kind: int, dtype: str) -> None:
    """Somebody may compute checksums: still no NaN gets into a table."""
    with pytest.raises(CorruptedLook):
        LookToken.decode(sealed(kind, np.array([1, value], dtype).tobytes(), 2))


def test_a_code_without_values_is_refused() -> None:
    """It says that it is empty, and it is."""
    with pytest.raises(CorruptedLook):
        LookToken.decode(sealed(1, b"", 0))


def test_the_largest_code_travels() -> None:
    """A code may have 1024 values."""
    code = np.arange(1024, dtype=np.float32)
    assert LookToken.decode(LookToken(bytes(8), code).encode()).code.size == 1024


@given(text=st.text(ALPHABET, max_size=200))
def test_any_text_is_decoded_or_refused(text: str) -> None:
    """Nothing but a Problem comes of a user's text."""
    with suppress(MalformedLook, TruncatedLook, CorruptedLook):
        LookToken.decode(text)


@pytest.mark.parametrize(
    ("fingerprint", "code"),
    [
        (b"short", np.zeros(20, np.float32)),
        (bytes(8), np.zeros(20, np.float64)),
        (bytes(8), np.zeros((4, 5), np.float32)),
        (bytes(8), np.zeros(0, np.float32)),
        (bytes(8), np.zeros(1025, np.float32)),
        (bytes(8), np.array([np.nan], np.float32)),
    ],
)
def test_fields_that_are_none_are_refused(fingerprint: bytes, code: NDArray[np.float32]) -> None:
    """What cannot be decoded cannot be encoded."""
    with pytest.raises(ValueError, match=r"fingerprint|code"):
        LookToken(fingerprint, code)
