"""What callers wish for, and what they get."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.imaging.codecs import ImageFormat
from app.imaging.metadata import MetadataPolicy
from app.luts.lut3d import Lut3D
from app.networks.store import ModelCard


async def _free(_: int) -> None:
    """Nobody is charged."""


@dataclass(frozen=True)
class EnhanceOptions:
    """What a caller wants of a photograph.

    Attributes:
        model: NAME or NAME@VERSION; None is the default.
        look: a look token to apply instead of predicting a look.
        strength: 0 leaves the photograph alone, 1 is the whole look.
        output_format: chooses the answer's format, given the photograph's own.
        quality: 1..100; None is the format's default.
        max_side: the longer side is reduced to this many pixels.
        metadata: what is kept.
        spend: told how many pixels are about to be decoded; may raise a Problem.
    """

    model: str | None = None
    look: str | None = None
    strength: float = 1.0
    output_format: Callable[[ImageFormat], ImageFormat] = lambda own: own
    quality: int | None = None
    max_side: int | None = None
    metadata: MetadataPolicy = MetadataPolicy.KEEP
    spend: Callable[[int], Awaitable[None]] = _free


@dataclass(frozen=True, eq=False)
class Look:
    """A LUT, and where it comes from."""

    card: ModelCard
    token: str
    lut: Lut3D


@dataclass(frozen=True, eq=False)
class EnhancedImage:
    """An enhanced photograph, encoded."""

    body: bytes
    format: ImageFormat
    look: Look
