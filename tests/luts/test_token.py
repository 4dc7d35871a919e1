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
from app.luts.token import MAX_TEXT, LookToken

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

codes = npst.arrays(
    np.float32,
    st.integers(1, 40),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)
tokens = st.builds(LookToken, st.binary(min_size=8, max_size=8), codes)


@pytest.fixture
def token() -> LookToken:
    """Make a token of twenty weights, as CLUT-Net has."""
    return LookToken(b"\x01\xffmodel\x80", np.linspace(-4, 4, 20).astype(np.float32))


def seal(kind: int, values: bytes, length: int) -> str:
    """Make a token of any content with a valid checksum."""
    body = struct.pack("<BH8s", kind, length, b"whatever") + values
    data = body + struct.pack("<I", zlib.crc32(body))
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@given(token=tokens)
def test_a_token_is_decoded_bit_for_bit(token: LookToken) -> None:
    """The decoded code has the same bits, so every replica decodes the same code."""
    decoded = LookToken.decode(token.encode())
    assert decoded.fingerprint == token.fingerprint
    assert decoded.code.dtype == np.float32
    assert decoded.code.tobytes() == token.code.tobytes()


@given(token=tokens)
def test_a_half_precision_token_is_rounded(token: LookToken) -> None:
    """The code is rounded to float16, and limited to its range."""
    decoded = LookToken.decode(token.encode(half=True))
    rounded = np.clip(token.code, -65504, 65504).astype(np.float16)
    np.testing.assert_array_equal(decoded.code, rounded.astype(np.float32))


@given(token=tokens, half=st.booleans())
def test_a_decoded_token_encodes_to_the_same_text(token: LookToken, half: bool) -> None:
    """One look has one text, so the token can be part of an ETag or a cache key."""
    text = token.encode(half=half)
    assert LookToken.decode(text).encode(half=half) == text


def test_tokens_are_short_and_safe_in_urls(token: LookToken) -> None:
    """Twenty weights take 127 characters, none of which is escaped in URLs."""
    text, half = token.encode(), token.encode(half=True)
    assert (len(text), len(half)) == (127, 74)
    assert set(text + half) <= set(ALPHABET)


def test_the_format_is_stable() -> None:
    """A token of the first version is still decoded."""
    text = "AQIAAQIDBAUGBwgAAAA_AACAv8pQNtg"
    decoded = LookToken.decode(text)
    assert decoded.fingerprint == bytes(range(1, 9))
    np.testing.assert_array_equal(decoded.code, [0.5, -1.0])


@pytest.mark.parametrize("half", [False, True])
def test_every_changed_character_is_rejected(token: LookToken, half: bool) -> None:
    """A token with one wrong character is not decoded to another look."""
    text = token.encode(half=half)
    for position in range(len(text)):
        for character in ALPHABET.replace(text[position], "") + "=+/.% é":
            with pytest.raises((MalformedLook, TruncatedLook, CorruptedLook)):
                LookToken.decode(text[:position] + character + text[position + 1 :])


@pytest.mark.parametrize("length", [1, 2, 3, 20])
@pytest.mark.parametrize("half", [False, True])
def test_every_prefix_is_truncated(token: LookToken, half: bool, length: int) -> None:
    """A truncated token is distinguished from a damaged one."""
    text = LookToken(token.fingerprint, token.code[:length]).encode(half=half)
    for end in range(len(text)):
        with pytest.raises(TruncatedLook):
            LookToken.decode(text[:end])


@given(token=tokens, half=st.booleans(), tail=st.text(ALPHABET, min_size=1, max_size=9))
def test_anything_after_the_end_is_rejected(token: LookToken, half: bool, tail: str) -> None:
    """No part of a token is ignored."""
    with pytest.raises(CorruptedLook):
        LookToken.decode(token.encode(half=half) + tail)


@pytest.mark.parametrize("text", ["a.b", "AQ==", "ключ", "AQ\n", " ", "A" * 9000, "CwAA", "____"])
def test_other_texts_are_malformed(text: str) -> None:
    """Other characters, an unknown kind, and texts longer than any token are malformed."""
    with pytest.raises(MalformedLook):
        LookToken.decode(text)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("kind", "dtype"), [(1, "<f4"), (2, "<f2")])
def test_values_that_are_not_finite_are_rejected(value: float, kind: int, dtype: str) -> None:
    """A forged token with a valid checksum cannot put NaN into a table."""
    with pytest.raises(CorruptedLook):
        LookToken.decode(seal(kind, np.array([1, value], dtype).tobytes(), 2))


def test_an_empty_code_is_rejected() -> None:
    """A token with a length of zero is corrupted."""
    with pytest.raises(CorruptedLook):
        LookToken.decode(seal(1, b"", 0))


def test_the_largest_code_is_encoded() -> None:
    """A code may have 1024 values."""
    code = np.arange(1024, dtype=np.float32)
    assert LookToken.decode(LookToken(bytes(8), code).encode()).code.size == 1024


@given(text=st.text(ALPHABET, max_size=200))
def test_any_text_is_decoded_or_rejected(text: str) -> None:
    """Any text is decoded, or raises one of the three problems."""
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
def test_invalid_fields_are_rejected(fingerprint: bytes, code: NDArray[np.float32]) -> None:
    """A token that could not be decoded cannot be made."""
    with pytest.raises(ValueError, match=r"fingerprint|code"):
        LookToken(fingerprint, code)


maps = npst.arrays(np.uint8, st.tuples(*[st.integers(1, 5)] * 4))


@given(token=tokens, cells=maps, half=st.booleans())
def test_a_map_is_decoded_as_it_was(token: LookToken, cells: NDArray[np.uint8], half: bool) -> None:
    """The cells of a map come back exactly, and the code as without a map."""
    text = LookToken(token.fingerprint, token.code, cells).encode(half=half)
    decoded = LookToken.decode(text)
    assert decoded.map is not None
    np.testing.assert_array_equal(decoded.map, cells)
    expected = LookToken.decode(token.encode(half=half)).code
    np.testing.assert_array_equal(decoded.code, expected)


def test_a_map_that_is_too_large_is_left_out(token: LookToken) -> None:
    """A text never exceeds 8 KB: the tables alone remain, which albums need."""
    noise = np.random.default_rng(0).integers(0, 256, (9, 8, 16, 16), np.uint8)
    text = LookToken(token.fingerprint, token.code, noise).encode()
    assert text == token.encode()
    assert len(LookToken(token.fingerprint, token.code, noise[:1]).encode()) < MAX_TEXT


@pytest.mark.parametrize(
    ("shape", "cells"),
    [
        ((1, 2, 3, 4), zlib.compress(bytes(23))),
        ((1, 2, 3, 4), zlib.compress(bytes(25))),
        ((1, 2, 3, 4), zlib.compress(bytes(24)) + b"x"),
        ((1, 2, 3, 4), zlib.compress(bytes(24))[:-1]),
        ((1, 2, 3, 4), b"no deflate"),
        ((0, 2, 3, 4), zlib.compress(b"")),
        ((255, 255, 255, 255), zlib.compress(bytes(1 << 22), 9)),
    ],
)
def test_maps_of_other_sizes_are_corrupted(shape: tuple[int, ...], cells: bytes) -> None:
    """A map that does not have its cells is rejected, and never decompressed beyond them."""
    values = struct.pack("<f4BH", 1.0, *shape, len(cells)) + cells
    with pytest.raises(CorruptedLook):
        LookToken.decode(seal(3, values, 1))


def test_each_part_of_a_mapped_token_is_truncated(token: LookToken) -> None:
    """A token with a map is truncated wherever it is cut."""
    text = LookToken(token.fingerprint, token.code, np.zeros((1, 2, 2, 2), np.uint8)).encode()
    for end in range(len(text)):
        with pytest.raises(TruncatedLook):
            LookToken.decode(text[:end])
