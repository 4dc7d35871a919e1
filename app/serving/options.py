"""The options of a request, declared once: HTTP query, command line and bulk jobs derive from them.

A new option is a field here and its use in `app.serving.stages`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from app.imaging.codecs import ImageFormat
from app.imaging.decode import TruncatedPolicy
from app.imaging.encode import HdrPolicy
from app.imaging.metadata import MetadataPolicy
from app.luts.export import LutOptions, Strength

AUTO: Final = "auto"
OFF: Final = "off"
WRITABLE_FORMATS = tuple(it.value for it in ImageFormat if it.encodable)
LOOK_TOKEN: dict[str, Any] = {"format": "look-token"}  # in JSON schemas

AcceptedFormats: TypeAlias = Sequence[Sequence[ImageFormat]]
"""Groups of formats that a client accepts, best group first; within a group all are equally
welcome, and the first is the cheapest to write."""


def _parse_output_format(value: object) -> ImageFormat | None:
    if value is None or value == AUTO:
        return None
    if value not in WRITABLE_FORMATS:
        raise ValueError(f"must be one of {', '.join((AUTO, *WRITABLE_FORMATS))}")
    return ImageFormat[str(value).upper()]


OutputFormat = Annotated[
    ImageFormat | None,
    BeforeValidator(_parse_output_format),
    PlainSerializer(lambda value: AUTO if value is None else value.value, return_type=str),
    WithJsonSchema({"type": "string", "enum": [AUTO, *WRITABLE_FORMATS], "default": AUTO}),
]


def _parse_restore(value: object) -> object:
    if value in (None, OFF, AUTO):
        return value
    try:
        strength = float(str(value))
    except ValueError:
        strength = -1
    if not 0 <= strength <= 1:
        raise ValueError("must be off, auto or a number from 0 to 1")
    return strength


Restore = Annotated[
    Literal["off", "auto"] | float | None,
    BeforeValidator(_parse_restore),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "enum": [OFF, AUTO]},
                {"type": "number", "minimum": 0, "maximum": 1},
            ],
            "examples": [OFF, AUTO, 0.5],
        }
    ),
]
Truncated = Annotated[
    TruncatedPolicy,
    Field(
        description="The treatment of a JPEG that is cut short: refuse rejects it, fill replaces "
        "the missing part by gray."
    ),
]
ModelRef = Annotated[
    str | None,
    Field(description="NAME or NAME@VERSION of an installed model.", examples=["default"]),
]


class EnhanceOptions(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """How an image is enhanced."""

    model: ModelRef = None
    strength: Strength = 1.0
    format: OutputFormat = Field(
        default=None,
        description="auto keeps the image's own format, unless the Accept header of a request "
        "prefers another; formats that are only read, such as HEIC, become JPEG. Animations stay "
        "animations in gif, webp, apng and avif; other formats receive the first frame.",
    )
    quality: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="Quality of lossy formats; by default the format's own.",
    )
    max_side: int | None = Field(
        default=None, ge=1, le=65535, description="Reduce the longer side to this many pixels."
    )
    restore: Restore = Field(
        default=None,
        description="Remove JPEG artefacts and noise before the colours are changed. auto decides "
        "by the quality of the JPEG and the noise that is measured, and leaves images alone that "
        "need nothing; a number, 0 to 1, is the share of the correction that is made in any case. "
        "By default off, but auto with upscale where a model that cleans is installed.",
    )
    upscale: float = Field(
        default=1.0,
        ge=1.0,
        le=4.0,
        description="Enlarge the result by this factor, after max_side and after the colours.",
    )
    metadata: MetadataPolicy = Field(
        default=MetadataPolicy.KEEP,
        description="keep preserves EXIF and XMP; safe removes GPS, serial numbers, thumbnails "
        "and maker notes; strip removes all.",
    )
    hdr: HdrPolicy = Field(
        default=HdrPolicy.KEEP,
        description="Whether an image keeps its gain map (Ultra HDR, ISO 21496-1, or that of "
        "Apple's cameras), which makes it HDR on displays that can show it. Results in JPEG alone "
        "have one.",
    )
    first: bool = Field(
        default=False,
        description="Enhance the first frame of an animation as a still image. Formats that hold "
        "no animations always receive the first frame.",
    )
    truncated: Truncated = TruncatedPolicy.REFUSE
    min_change: float = Field(
        default=0.0,
        ge=0.0,
        le=100.0,
        description="Leave the colours alone where the look would change them by less than this "
        "on average, in CIEDE2000 (about 1 is just visible). The result is then the file as it is, "
        "unless another format, size or less metadata was requested.",
    )
    look: str | None = Field(
        default=None,
        json_schema_extra=LOOK_TOKEN,
        description="A look token to apply instead of predicting a look: the same look for a whole "
        "album or burst. Responses have it as X-Look, LUT files in a comment.",
    )

    @property
    def cleaning(self) -> Literal["off", "auto"] | float:
        """The effective `restore`: artefacts that would be enlarged are removed by default."""
        if self.restore is None:
            return OFF if self.upscale == 1 else AUTO
        return self.restore


class PredictLutOptions(LutOptions):
    """How a LUT is predicted and written."""

    model: ModelRef = None
    truncated: Truncated = TruncatedPolicy.REFUSE


def choose_format(
    requested: ImageFormat | None,
    own: ImageFormat,
    accepted: AcceptedFormats = (),
    *,
    animated: bool = False,
) -> ImageFormat:
    """Return the format that an enhanced image is written in.

    Args:
        requested: the option `format`, which decides where it is not None.
        own: the format that the image was read from; chosen where the client accepts no
            other with a higher rank.
        accepted: by the client; empty where it has no preference.
        animated: whether formats that hold animations go before those that do not.
    """
    if requested is not None:
        return requested
    if not own.encodable:
        own = ImageFormat.JPEG
    elif own is ImageFormat.APNG and not animated:
        own = ImageFormat.PNG
    if animated:
        holding = [[it for it in group if it.codec.animation] for group in accepted]
        accepted = holding if any(holding) else accepted
    for group in accepted:
        if group:
            return own if own in group else group[0]
    return own
