"""Encoding a LUT as a file: strength, size and range first, then the format."""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.luts.formats import LutFormat
from app.luts.formats.base import LutMetadata
from app.luts.lut3d import FINE_SIZE, Lut3D
from app.luts.lut_error import ErrorStats, lut_error


@dataclass(frozen=True)
class LutOptions:
    """How a LUT is written.

    Attributes:
        format: of the file.
        size: lattice points on an axis, 2..129; None is the LUT's own, or 65 where the format
            does not hold the shaper of the LUT.
        strength: 0 for the identity, 1 for the whole look.
        title: the name of the LUT in the file; None lets the writer choose.
        clamp: whether to clamp the table to 0..1, for programs that reject other values.
        gzipped: whether an HTTP response compresses the file.
    """

    format: LutFormat = LutFormat.CUBE
    size: int | None = None
    strength: float = 1.0
    title: str | None = None
    clamp: bool = False
    gzipped: bool = False


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
