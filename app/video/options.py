"""The options of a video, declared once: the command line and bulk jobs derive from them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from app.luts.export import Strength
from app.serving.options import LOOK_TOKEN, ModelRef
from app.video.codecs import CODECS

VideoCodecName = Literal["h264", "hevc", "av1", "prores", "ffv1"]


class VideoOptions(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """How a video is enhanced and encoded."""

    model: ModelRef = None
    strength: Strength = 1.0
    look: str | None = Field(
        default=None,
        json_schema_extra=LOOK_TOKEN,
        description="A look token to apply to all frames instead of predicting looks.",
    )
    per_scene: bool = Field(
        default=False, description="One constant look for each scene instead of a smoothed one."
    )
    smooth: float = Field(
        default=0.5,
        ge=0.0,
        le=60.0,
        description="Seconds over which looks are smoothed within a scene: the standard deviation "
        "of a Gaussian, which delays nothing.",
    )
    codec: VideoCodecName | None = Field(
        default=None, description="Default: the codec of the video if it can be written, else h264."
    )
    quality: int | None = Field(
        default=None,
        description="On the scale of the encoder: "
        + "; ".join(
            f"{name} {it.option} {it.worst} (worst) to {it.best}, default {it.quality}"
            for name, it in CODECS.items()
            if it.option
        )
        + ".",
    )
    preset: str | None = Field(
        default=None, description="Speed of the encoder h264, hevc or av1, such as veryfast or 8."
    )
    preview: bool = Field(
        default=False, description="Write a small clip with the original beside the result."
    )
