"""The options of a video, declared once, and the encoders that they choose from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import av
from pydantic import BaseModel, Field

from app.errors import BadVideo
from app.luts.export import Strength
from app.serving.options import LOOK_TOKEN, ModelRef


class Codec(StrEnum):
    """A codec that can be written; the values are the names that FFmpeg gives decoders."""

    H264 = "h264"
    HEVC = "hevc"
    AV1 = "av1"
    PRORES = "prores"
    FFV1 = "ffv1"


@dataclass(frozen=True)
class VideoCodec:
    """An encoder, and the scale of its quality.

    Attributes:
        encoder: its name in FFmpeg.
        option: of the encoder, that takes the quality; None for lossless codecs.
        quality: the default; None leaves it to the encoder.
        worst, best: the ends of the scale.
        presets: whether the encoder has an option `preset`.
        whole_chroma: whether width and height must be multiples of the numbers of pixels that
            share a chroma sample.
        alpha: whether the encoder holds transparency.
        interlaces: whether the encoder encodes and states fields.
        settings: further options of the encoder.
    """

    encoder: str
    option: str | None = None
    quality: int | None = None
    worst: int = 0
    best: int = 0
    presets: bool = False
    whole_chroma: bool = False
    alpha: bool = False
    interlaces: bool = False
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def pixel_formats(self) -> list[str]:
        """The pixel formats that the encoder accepts."""
        return [it.name for it in av.Codec(self.encoder, "w").video_formats or []]

    def options(self, quality: int | None, preset: str | None) -> dict[str, str]:
        """Return the options of the encoder.

        Raises:
            BadVideo: the quality is not on the scale, or the encoder has no presets.
        """
        options = dict(self.settings)
        if quality is not None and self.option is None:
            raise BadVideo(f"{self.encoder} is lossless and takes no quality")
        low, high = sorted((self.worst, self.best))
        if quality is not None and not low <= quality <= high:
            raise BadVideo(f"the quality of {self.encoder} is {low}..{high}")
        chosen = self.quality if quality is None else quality
        if self.option is not None and chosen is not None:
            options[self.option] = str(chosen)
        if preset is not None and not self.presets:
            raise BadVideo(f"{self.encoder} has no presets")
        if preset is not None:
            options["preset"] = preset
        return options


CODECS = {
    Codec.H264: VideoCodec(
        "libx264", "crf", 18, worst=51, best=0, presets=True, whole_chroma=True, interlaces=True
    ),
    Codec.HEVC: VideoCodec(
        "libx265", "crf", 20, worst=51, best=0, presets=True, whole_chroma=True,
        settings=(("x265-params", "log-level=error"),),
    ),
    Codec.AV1: VideoCodec("libsvtav1", "crf", 28, worst=63, best=1, presets=True),
    Codec.PRORES: VideoCodec("prores_ks", "profile", worst=0, best=5, alpha=True, interlaces=True),
    Codec.FFV1: VideoCodec("ffv1", alpha=True),
}  # fmt: skip


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
    codec: Codec | None = Field(
        default=None,
        description="Default: the codec of the video if it can be written, else h264; av1 in WebM.",
    )
    quality: int | None = Field(
        default=None,
        description="On the scale of the encoder: "
        + "; ".join(
            f"{name} {it.option} {it.worst} (worst) to {it.best}, default "
            + ("3, with 4:4:4 chroma 4" if it.quality is None else str(it.quality))
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
    resume: bool = Field(
        default=False,
        description="Keep finished scenes of an interrupted run in a folder beside OUT, and go on "
        "from there when it is run again; for mp4, mov, mkv and webm.",
    )


def find_codec(requested: Codec | None, own: str, suffix: str) -> VideoCodec:
    """Return the codec that was requested, else that of the video, else one for the container.

    Args:
        requested: the option `codec`.
        own: FFmpeg's name of the codec of the video.
        suffix: of the output; WebM holds AV1 alone of the codecs that are written.

    Raises:
        BadVideo: this build of FFmpeg has no encoder for it.
    """
    kept = Codec(own) if own in {it.value for it in Codec} else Codec.H264
    found = CODECS[requested or (Codec.AV1 if suffix.lower() == ".webm" else kept)]
    if found.encoder not in av.codecs_available:
        raise BadVideo(f"this build of PyAV has no encoder {found.encoder}")
    return found
