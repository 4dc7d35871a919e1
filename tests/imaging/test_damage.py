"""Hostile bytes: whatever a file holds, the only failures are Problems."""

from __future__ import annotations

import random

import pytest

from app.errors import AnimatedImage, DamagedImage, NotAnImage, TooManyPixels
from app.imaging.decode import decode, decode_reduced
from app.imaging.metadata import MetadataPolicy, filter_metadata
from app.imaging.probe import probe
from app.policies import Limits
from tests.helpers.files import one_of_each

FILES = one_of_each()
FLIPS = 40


def damaged(body: bytes, dice: random.Random) -> bytes:
    """Draw a file with a few bytes changed, its header more often than the rest."""
    copy = bytearray(body)
    for _ in range(dice.choice((1, 1, 2, 5, 20))):
        position = dice.randrange(min(len(copy), dice.choice((100, 400, len(copy)))))
        copy[position] = dice.choice((0, 255, dice.randrange(256), copy[position] ^ 1))
    return bytes(copy)


@pytest.mark.parametrize("name", FILES)
def test_flipped_bytes(name: str) -> None:
    """A file with flipped bytes decodes, or is rejected with a Problem."""
    dice = random.Random(name)  # noqa: S311 - a seeded one, so that a failure can be repeated
    for _ in range(FLIPS):
        body = damaged(FILES[name], dice)
        try:
            source = probe(body, Limits(max_pixels=1_000_000))
            filter_metadata(decode(source).metadata, MetadataPolicy.SAFE)
            decode_reduced(source, 16)
        except (NotAnImage, DamagedImage, TooManyPixels, AnimatedImage):
            continue


@pytest.mark.parametrize("name", FILES)
def test_heads_without_bodies(name: str) -> None:
    """The first bytes of a file are never enough, and never a crash."""
    for length in range(0, 200, 7):
        with pytest.raises((NotAnImage, DamagedImage)):
            decode(probe(FILES[name][:length], Limits()))
