"""What is to be made of a folder's photographs."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from app.bulk.names import writable
from app.imaging.metadata import MetadataPolicy
from app.imaging.photo import ImageFormat
from app.serving.look import Wish


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
    def wish(self) -> Wish:
        """The same, for each photograph."""
        return Wish(
            model=self.model,
            strength=self.strength,
            output_format=lambda own: self.format or writable(own),
            quality=self.quality,
            max_side=self.max_side,
            metadata=self.metadata,
        )
