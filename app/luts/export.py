"""Encoding a LUT as a file: strength, size and range first, then the format."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import BaseModel, Field

from app.errors import BadParameter, MappedLook
from app.luts.formats import LutFormat
from app.luts.formats.base import Depth, GreenAxis, LutLayout, LutMetadata
from app.luts.local_lut import AnyLut, LocalLut, flatten
from app.luts.lut3d import FINE_SIZE, MAX_RESAMPLED_SIZE, Lut3D
from app.luts.lut_error import ErrorStats, lut_error


def _format_values(values: Collection[object]) -> str:
    if isinstance(values, range):
        return f"{values[0]}..{values[-1]}"
    return ", ".join(map(str, values))


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
        description="Lattice points on an axis; by default those of the LUT, 33 for most models, "
        "or 65 where a shaper has to go into the table, or the next larger size that the format "
        "allows.",
    )
    strength: Strength = 1.0
    title: str | None = Field(
        default=None, max_length=200, description="The LUT's name in the file."
    )
    flatten: bool = Field(
        default=False,
        description="Of a look that differs within the image, write the one LUT that is nearest "
        "to it. Without it, such looks are rejected: no LUT file holds a map.",
    )
    clamp: bool = Field(
        default=False,
        description="Clamp the table to 0..1, for programs that reject other values.",
    )
    depth: Depth | None = Field(
        default=None,
        description="Number type of the entries, by default the first that the format allows: "
        + "; ".join(
            f"{it}: {_format_values(it.codec.depths)}"
            for it in LutFormat
            if len(it.codec.depths) > 1
        )
        + ". Integers are clamped to 0..1.",
    )
    green: GreenAxis | None = Field(
        default=None,
        description="Direction in which green rises in a strip: down (Unreal Engine, the "
        "default) or up (Unity).",
    )

    @property
    def layout(self) -> LutLayout:
        """How the entries are laid out in the file."""
        codec = self.format.codec
        return LutLayout(self.depth or codec.depths[0], self.green or GreenAxis.DOWN)

    def require_supported(self) -> None:
        """Require that the format allows the size, the depth and the direction of green.

        Raises:
            BadParameter: with the values that the format allows.
        """
        codec = self.format.codec
        allowed: dict[str, tuple[object, Collection[object]]] = {
            "size": (self.size, codec.sizes),
            "depth": (self.depth, codec.depths),
            "green": (self.green, codec.greens),
        }
        for name, (value, values) in allowed.items():
            if value is not None and value not in values:
                choice = f"one of {_format_values(values)}" if values else f"no {name}"
                reason = f"the format {codec.name} has {choice}"
                parameters = [{"name": name, "reason": reason}]
                raise BadParameter(f"{name}: {reason}.", parameters=parameters)


@dataclass(frozen=True, eq=False)
class EncodedLut:
    """A LUT file.

    Attributes:
        body: the bytes of the file.
        error: how far the file is from the exact LUT, or None if it holds the exact LUT. Of a
            local LUT it is at most so far.
    """

    body: bytes
    error: ErrorStats | None


def require_one_table(model: str, *, is_local: bool, options: LutOptions) -> None:
    """Require that a LUT file can hold the looks of a model, or the best approximation.

    Raises:
        MappedLook: the looks have a map, and are not to be flattened.
    """
    if is_local and not options.flatten:
        raise MappedLook(
            f"A look of {model} mixes several LUTs by a map of the image. The format "
            f"{options.format.codec.name} holds one LUT; flatten=true writes the nearest one."
        )


def encode_lut(lut: AnyLut, options: LutOptions, metadata: LutMetadata) -> EncodedLut:
    """Encode a LUT, in 10 ms to seconds.

    Args:
        lut: at full strength. A local LUT is flattened; see `require_one_table`.
        options: how to write it.
        metadata: its title is replaced by that of the options, if they have one; its strength
            and error are filled in.

    Raises:
        BadParameter: as `LutOptions.require_supported`.
    """
    options.require_supported()
    requested = lut.at_strength(options.strength)
    exact = flatten(requested)
    fitted = _fit(exact, options)
    error = None if fitted is exact else lut_error(exact, fitted)
    if isinstance(requested, LocalLut):
        error = requested.flattening_error() + (error or ErrorStats(0.0, 0.0))
    metadata = replace(
        metadata,
        title=options.title or metadata.title,
        strength=options.strength,
        error=error,
    )
    return EncodedLut(options.format.codec.write(fitted, metadata, options.layout), error)


def choose_size(size: int, has_shaper: bool, options: LutOptions) -> int:
    """Return the lattice points on an axis of the file for a LUT of `size` of them."""
    if options.size is not None:
        return options.size
    codec = options.format.codec
    least = FINE_SIZE if has_shaper and not codec.holds_shaper else size
    return next((it for it in codec.sizes if it >= least), codec.sizes[-1])


def _fit(lut: Lut3D, options: LutOptions) -> Lut3D:
    """Return the LUT as the format holds it at the requested size, range and depth.

    The same object means that nothing is lost.
    """
    has_shaper = lut.shaper is not None
    size = choose_size(lut.size, has_shaper, options)
    if size != lut.size or (has_shaper and not options.format.codec.holds_shaper):
        lut = lut.resample(size)
    if options.clamp:
        lut = lut.clamp()
    if options.layout.depth is not Depth.FLOAT32:
        lut = replace(lut, table=options.layout.depth.round(lut.table))
    return lut
