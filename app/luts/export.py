"""Encoding a LUT as a file: strength, size and range first, then the format."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import BaseModel, Field

from app.luts.formats import LutFormat
from app.luts.formats.base import LutMetadata
from app.luts.lut3d import FINE_SIZE, MAX_RESAMPLED_SIZE, Lut3D
from app.luts.lut_error import ErrorStats, lut_error

Strength = Annotated[
    float,
    Field(ge=0.0, le=1.0, description="0 leaves the image unchanged, 1 applies the whole look."),
]


class LutOptions(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """How a LUT is written; HTTP queries and the command line derive from these fields."""

    format: LutFormat = Field(
        default=LutFormat.CUBE,
        description="; ".join(f"{it}: {it.codec.description}" for it in LutFormat)
        + ". The curves that some models put before the table are held by "
        + ", ".join(it for it in LutFormat if it.codec.holds_shaper)
        + ".",
    )
    size: int | None = Field(
        default=None,
        ge=2,
        le=MAX_RESAMPLED_SIZE,
        description="Lattice points on an axis; by default the model's own, usually 33, or 65 "
        "where the curves of a model have to go into the table.",
    )
    strength: Strength = 1.0
    title: str | None = Field(
        default=None, max_length=200, description="The LUT's name in the file."
    )
    clamp: bool = Field(
        default=False,
        description="Clamp the table to 0..1, for programs that reject other values.",
    )


@dataclass(frozen=True, eq=False)
class EncodedLut:
    """A LUT file.

    Attributes:
        body: the bytes of the file.
        error: how far the file is from the exact LUT, or None if it holds the exact LUT.
    """

    body: bytes
    error: ErrorStats | None


def encode_lut(lut: Lut3D, options: LutOptions, metadata: LutMetadata) -> EncodedLut:
    """Encode a LUT, in 10 ms to seconds.

    Args:
        lut: at full strength.
        options: how to write it.
        metadata: its title is replaced by that of the options, if they have one; its strength
            and error are filled in.
    """
    exact = lut.at_strength(options.strength)
    fitted = _fit(exact, options)
    error = None if fitted is exact else lut_error(exact, fitted)
    metadata = replace(
        metadata,
        title=options.title or metadata.title,
        strength=options.strength,
        error=error,
    )
    return EncodedLut(options.format.codec.write(fitted, metadata), error)


def exported_size(lut: Lut3D, options: LutOptions) -> int:
    """Return the number of lattice points on an axis of the file."""
    return options.size or (lut.size if _holds_shaper(lut, options) else FINE_SIZE)


def _fit(lut: Lut3D, options: LutOptions) -> Lut3D:
    """Return the LUT as the format holds it at the requested size and range.

    The same object means that nothing is lost.
    """
    size = exported_size(lut, options)
    if size != lut.size or not _holds_shaper(lut, options):
        lut = lut.resample(size)
    return lut.clamp() if options.clamp else lut


def _holds_shaper(lut: Lut3D, options: LutOptions) -> bool:
    return lut.shaper is None or options.format.codec.holds_shaper
