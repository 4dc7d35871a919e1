"""What is to be made of a folder's photographs."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from app.bulk.filenames import writable_format
from app.imaging.codecs import ImageFormat
from app.imaging.metadata import MetadataPolicy
from app.serving.options import EnhanceOptions


class Job(BaseModel):
    """From where to where, and how; the first line of the manifest.

    Attributes:
        source: path or URI of a folder.
        target: likewise.
        model: NAME or NAME@VERSION; None is the default.
        strength: 0 is untouched, 1 the whole look.
        format: of all answers; None is each photograph's own, where that is written.
        quality: 1..100; None is the format's default.
        max_side: the longer side is reduced to this many pixels.
        metadata: what is kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    target: str
    model: str | None = None
    strength: float = 1.0
    format: ImageFormat | None = None
    quality: int | None = None
    max_side: int | None = None
    metadata: MetadataPolicy = MetadataPolicy.KEEP

    @property
    def options(self) -> EnhanceOptions:
        """The same, for each photograph."""
        return EnhanceOptions(
            model=self.model,
            strength=self.strength,
            output_format=lambda own: self.format or writable_format(own),
            quality=self.quality,
            max_side=self.max_side,
            metadata=self.metadata,
        )


class Status(StrEnum):
    """How it ended."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"  # it is no image


class Result(BaseModel):
    """A line of the manifest.

    Attributes:
        source: the file's name in the source folder.
        status: how it ended.
        target: the answer's name in the other folder, where it is done.
        reason: why, where it is not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    status: Status
    target: str | None = None
    reason: str | None = None
