"""The query parameters of every endpoint; unknown ones are refused by name."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.imaging.codecs import ImageFormat
from app.imaging.metadata import MetadataPolicy
from app.luts.export import LutOptions
from app.luts.formats import LutFormat
from app.luts.lut3d import MAX_RESAMPLED_SIZE

Strength = Annotated[
    float, Field(ge=0.0, le=1.0, description="0 leaves the photo alone, 1 is the whole look.")
]
ModelName = Annotated[
    str | None,
    Field(description="NAME or NAME@VERSION, as listed by /models.", examples=["default"]),
]

OUTPUT_FORMATS = ("auto", *(member.value for member in ImageFormat if member.encodable))


def _check_output_format(value: str) -> str:
    if value not in OUTPUT_FORMATS:
        raise ValueError(f"must be one of {', '.join(OUTPUT_FORMATS)}")
    return value


OutputFormat = Annotated[
    str, AfterValidator(_check_output_format), Field(json_schema_extra={"enum": [*OUTPUT_FORMATS]})
]

LOOK_TOKEN: dict[str, Any] = {"format": "look-token"}


class _Query(BaseModel):
    # A typo in a name must not pass silently; nor may NaN pass as a strength.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class EnhanceQuery(_Query):
    """What a caller wants of an enhanced photo."""

    model: ModelName = None
    strength: Strength = 1.0
    format: OutputFormat = Field(
        default="auto",
        description="auto is what Accept asks for, else the photo's own format; HEIC and others "
        "that are only read here become JPEG.",
    )
    quality: int | None = Field(
        default=None, ge=1, le=100, description="Of lossy formats; each has its own default."
    )
    max_side: int | None = Field(
        default=None, ge=1, le=65535, description="Reduce the longer side to this many pixels."
    )
    metadata: MetadataPolicy = Field(
        default=MetadataPolicy.KEEP,
        description="keep EXIF and XMP; safe is without GPS, serial numbers, thumbnails and maker "
        "notes; strip removes all.",
    )
    look: str | None = Field(
        default=None,
        json_schema_extra=LOOK_TOKEN,
        description="A look token (the X-Look of an earlier answer) to apply instead of "
        "predicting a look: the same look for a whole album or burst.",
    )


class LutQuery(_Query):
    """How a LUT is written."""

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
        "where a model's curves have to go into the table.",
    )
    strength: Strength = 1.0
    title: str | None = Field(
        default=None, max_length=200, description="The LUT's name in the file."
    )
    clamp: bool = Field(
        default=False,
        description="Clamp the table to 0..1, for readers that refuse other values.",
    )

    def options(self, *, gzipped: bool) -> LutOptions:
        """The same, for the layers below."""
        return LutOptions(self.format, self.size, self.strength, self.title, self.clamp, gzipped)


class PredictLutQuery(LutQuery):
    """How a LUT is predicted and written."""

    model: ModelName = None


class GetLutQuery(LutQuery):
    """Which LUT is made again, and how it is written."""

    token: str = Field(
        json_schema_extra=LOOK_TOKEN,
        description="A look token, the X-Look of an earlier answer.",
    )


class NoQuery(_Query):
    """No parameters at all."""
